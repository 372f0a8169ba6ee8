# Flags of our own build. A consumer that adds cairn to its tree or links the installed library sees none of them.
add_library(cairn_developer INTERFACE)
target_compile_features(cairn_developer INTERFACE cxx_std_23)

if(CAIRN_DEVELOPER_MODE)
  target_compile_options(
    cairn_developer INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
                              -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Werror)
  # Members that a designated initialiser leaves out have their documented default on purpose.
  target_compile_options(cairn_developer INTERFACE -Wno-missing-field-initializers)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
endif()

if(CAIRN_SANITIZE)
  add_compile_options(-fsanitize=${CAIRN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${CAIRN_SANITIZE})
  if(CAIRN_SANITIZE MATCHES "address" AND CAIRN_BUILD_PYTHON AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    # Python was built without the sanitizer, so the runtime is preloaded into it. The programs that Python starts
    # inherit that. A program with its own runtime linked in would then refuse to start, so the runtime is shared.
    execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libclang_rt.asan-x86_64.so
                    OUTPUT_VARIABLE cairn_asan_runtime OUTPUT_STRIP_TRAILING_WHITESPACE)
    cmake_path(GET cairn_asan_runtime PARENT_PATH cairn_asan_folder)
    add_link_options(-shared-libasan "-Wl,-rpath,${cairn_asan_folder}")
  endif()
endif()
