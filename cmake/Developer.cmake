# Flags of our own build. A consumer that adds cairn to its tree or links the installed library sees none of them.
add_library(cairn_developer INTERFACE)
target_compile_features(cairn_developer INTERFACE cxx_std_23)

if(CAIRN_DEVELOPER_MODE)
  target_compile_options(
    cairn_developer INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
                              -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Werror)
  # Names not initialised in a designated initialiser have their documented default on purpose.
  target_compile_options(cairn_developer INTERFACE -Wno-missing-field-initializers)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()

if(CAIRN_SANITIZE)
  add_compile_options(-fsanitize=${CAIRN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${CAIRN_SANITIZE})
endif()
