// Goal: the checksum is XXH3-128 as everybody else computes it, because it is part of the stored format.
// Method: test vectors of the xxHash project (`xxhsum -H2`), and the byte order of the stored form.

#include <cairn/checksum.h>

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace cairn {
namespace {

TEST(Checksum, MatchesKnownXxh3Vectors) {
    EXPECT_EQ(Checksum::of("").to_hex(), "99aa06d3014798d86001c324468d497f");
    EXPECT_EQ(Checksum::of("a").to_hex(), "a96faf705af16834e6c632b61e964e1f");
    EXPECT_EQ(Checksum::of("abc").to_hex(), "06b05ab6733a618578af5f94892f3950");
}

TEST(Checksum, StoredBytesAreTheHexDigitsInOrder) {
    const Checksum checksum{.high = 0x0102030405060708, .low = 0x090A0B0C0D0E0F10};
    EXPECT_EQ(checksum.to_hex(), "0102030405060708090a0b0c0d0e0f10");
    const auto bytes = checksum.to_bytes();
    for (std::size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], i + 1);
}

TEST(Checksum, StoredBytesAreReadBack) {
    const Checksum checksum = Checksum::of("some text");
    std::uint8_t bytes[Checksum::kBytes];
    const auto stored = checksum.to_bytes();
    std::copy(stored.begin(), stored.end(), bytes);
    EXPECT_EQ(Checksum::from_bytes(bytes), checksum);
}

TEST(Checksum, EveryBitOfTheTextMatters) {
    std::string text(300, 'x');
    const Checksum checksum = Checksum::of(text);
    for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
        text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << (bit % 8)));
        EXPECT_NE(Checksum::of(text), checksum) << "bit " << bit;
        text[bit / 8] = static_cast<char>(text[bit / 8] ^ (1 << (bit % 8)));
    }
}

}  // namespace
}  // namespace cairn
