// Goal: base64 is that of RFC 4648, and only its one form of any bytes is read.
// Method: the vectors of the RFC; bytes of every length around a group, and every byte; texts that are almost right.

#include "base/base64.h"

#include <gtest/gtest.h>

#include <string>

namespace cairn {
namespace {

TEST(Base64, TheVectorsOfTheRfcHold) {
    const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                           {"f", "Zg=="},
                                                           {"fo", "Zm8="},
                                                           {"foo", "Zm9v"},
                                                           {"foob", "Zm9vYg=="},
                                                           {"fooba", "Zm9vYmE="},
                                                           {"foobar", "Zm9vYmFy"}};
    for (const auto& [bytes, text] : vectors) {
        EXPECT_EQ(to_base64(bytes), text);
        EXPECT_EQ(from_base64(text), bytes);
    }
}

TEST(Base64, EveryByteAtEveryPlaceOfAGroupComesBack) {
    std::string bytes;
    for (int i = 0; i < 1024; ++i) {
        ASSERT_EQ(from_base64(to_base64(bytes)), bytes);
        ASSERT_GE(from_base64(to_base64(bytes), 65)->capacity(), bytes.size() + 65);
        bytes += static_cast<char>(i);
    }
}

TEST(Base64, OnlyTheOneFormIsRead) {
    for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm8", "Zm9v\n", " Zm9v", "Zm-v", "Zm_v", "=",
                             "====", "Zg==Zg==", "Zm9vZg=a", "Zm\0v"}) {
        EXPECT_EQ(from_base64(text), std::nullopt) << text;
    }
}

}  // namespace
}  // namespace cairn
