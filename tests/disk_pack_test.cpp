// Do packs carry entries to other places, and do damaged ones cost only what is damaged?
#include <encore/cache/pack.h>

#include "disk_folder.h"

namespace encore::cache {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int entries = 20;

class DiskPack : public DiskFolder {
 protected:
  DiskPack() {
    DiskStore store(options());
    for (int i = 0; i < entries; ++i) store.write(kind(i), key(i), value(i));
  }
  static std::string kind(int i) { return i % 2 ? "kernel" : "binary"; }
  static std::string key(int i) { return "key " + std::to_string(i); }
  static Bytes value(int i) { return random_bytes(i, 50 * i); }

  DiskOptions with_pack() {
    DiskOptions with_pack = options();
    with_pack.folder = root_ / "elsewhere";
    with_pack.packs = {pack_};
    return with_pack;
  }
  int readable(DiskStore& store) {
    int found = 0;
    for (int i = 0; i < entries; ++i) {
      const auto read = store.read(kind(i), key(i));
      if (read) {
        EXPECT_EQ(read, value(i)) << i;
      }
      found += read.has_value();
    }
    return found;
  }
  const fs::path pack_ = root_ / "my.pack";
};

TEST_F(DiskPack, GivesWhatWasExported) {
  const PackReport report = export_pack(folder_, pack_);
  EXPECT_EQ(report.entries, entries);
  EXPECT_EQ(report.rejected, 0);
  EXPECT_EQ(report.bytes, fs::file_size(pack_));
  DiskStore store(with_pack());
  EXPECT_EQ(readable(store), entries);
  EXPECT_FALSE(store.read("kernel", "another key"));
  EXPECT_EQ(store.statistics().pack_hits, entries);
  EXPECT_FALSE(fs::exists(root_ / "elsewhere"));  // nothing was written
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(DiskPack, IsReadWithoutAFolder) {
  export_pack(folder_, pack_);
  DiskOptions alone = with_pack();
  alone.folder.clear();
  alone.writes = false;
  DiskStore store(alone);
  EXPECT_EQ(readable(store), entries);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(DiskPack, IsTheSameBytesForTheSameEntries) {
  export_pack(folder_, pack_);
  const Bytes first = read_file(pack_);
  DiskOptions elsewhere = options();
  elsewhere.folder = root_ / "elsewhere";
  {
    DiskStore store(elsewhere);
    for (int i = entries - 1; i >= 0; --i) store.write(kind(i), key(i), value(i));
  }
  export_pack(elsewhere.folder, root_ / "other.pack");
  EXPECT_EQ(read_file(root_ / "other.pack"), first);
}

TEST_F(DiskPack, HoldsWhatIsWanted) {
  const PackReport report =
      export_pack(folder_, pack_, [](const Entry& entry) { return entry.kind == "kernel"; });
  EXPECT_EQ(report.entries, entries / 2);
  DiskStore store(with_pack());
  EXPECT_EQ(readable(store), entries / 2);
  EXPECT_TRUE(store.read(kind(1), key(1)));
}

TEST_F(DiskPack, LeavesOutWhatIsDamaged) {
  write_file(path_to(kind(3), key(3)), bytes_of("damaged"));
  const PackReport report = export_pack(folder_, pack_);
  EXPECT_EQ(report.entries, entries - 1);
  EXPECT_EQ(report.rejected, 1);
  DiskStore store(with_pack());
  EXPECT_EQ(readable(store), entries - 1);
}

TEST_F(DiskPack, IsImportedIntoAFolder) {
  export_pack(folder_, pack_);
  DiskOptions elsewhere = options();
  elsewhere.folder = root_ / "elsewhere";
  DiskStore store(elsewhere);
  const PackReport report = import_pack(store, pack_);
  EXPECT_EQ(report.entries, entries);
  EXPECT_EQ(report.rejected, 0);
  EXPECT_EQ(readable(store), entries);
  for (int i = 0; i < entries; ++i)
    EXPECT_EQ(read_file(elsewhere.folder / path_of(entry_name(kind(i), key(i)))),
              read_file(path_to(kind(i), key(i))));
}

TEST_F(DiskPack, DamagedAnywhereLosesOneEntryAtMost) {
  export_pack(folder_, pack_);
  const Bytes good = read_file(pack_);
  std::mt19937_64 random(3);
  for (int round = 0; round < 400; ++round) {
    Bytes damaged = good;
    // The first entry's header byte by byte, then anywhere.
    const size_t at = round < sizeof(EntryHeader) ? round : random() % good.size();
    damaged[at] ^= std::byte(1 + random() % 255);
    write_file(pack_, damaged);
    DiskStore store(with_pack());
    EXPECT_EQ(readable(store), entries - 1) << "byte " << at;
    EXPECT_FALSE(warnings_.empty());
    warnings_.clear();
  }
}

TEST_F(DiskPack, CutOffKeepsWhatIsWhole) {
  export_pack(folder_, pack_);
  const Bytes good = read_file(pack_);
  int before = 0;
  for (size_t size = 0; size <= good.size(); size += 13) {
    write_file(pack_, std::span(good).first(size));
    DiskStore store(with_pack());
    const int now = readable(store);
    EXPECT_GE(now, before);
    before = now;
  }
  EXPECT_GE(before, entries - 1);
}

TEST_F(DiskPack, CutOffWhileItIsReadIsAMiss) {
  export_pack(folder_, pack_);
  DiskStore store(with_pack());
  fs::resize_file(pack_, 100);
  EXPECT_LT(readable(store), 2);
  EXPECT_FALSE(warnings_.empty());
}

TEST_F(DiskPack, ThatIsMissingOrUnfitIsOneWarning) {
  {
    DiskStore store(with_pack());
    EXPECT_EQ(readable(store), 0);
    EXPECT_TRUE(store.write("a", "key", bytes_of("value")));
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr("No such file")));
  }
  auto expect_unfit = [&](const std::string& why) {
    warnings_.clear();
    DiskStore store(with_pack());
    EXPECT_EQ(readable(store), 0);
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr(why)));
  };
  fs::create_directory(pack_);
  expect_unfit("no regular file");
  fs::remove(pack_);
  ASSERT_EQ(::mkfifo(pack_.c_str(), 0600), 0);
  expect_unfit("no regular file");
  write_file(pack_, bytes_of("something that is no pack"));
  expect_unfit("it is cut off");
  write_file(pack_, random_bytes(1, 100'000));
  expect_unfit("it is not an entry");
  fs::remove(pack_);
  export_pack(folder_, pack_);
  fs::permissions(pack_, fs::perms::others_write, fs::perm_options::add);
  expect_unfit("others may write it");
}

TEST_F(DiskPack, GoesBeforeTheFolderAndTheFirstGoesFirst) {
  export_pack(folder_, pack_);
  DiskOptions other = options();
  other.folder = root_ / "other";
  DiskStore(other).write(kind(5), key(5), bytes_of("the other"));
  export_pack(other.folder, root_ / "other.pack");
  DiskOptions both = options();
  both.packs = {root_ / "other.pack", pack_};
  DiskStore store(both);
  EXPECT_EQ(store.read(kind(5), key(5)), bytes_of("the other"));
  EXPECT_EQ(store.read(kind(6), key(6)), value(6));
}

TEST_F(DiskPack, CannotBeMadeFromNothingOrNowhere) {
  EXPECT_THROW(export_pack(root_ / "nothing", pack_), std::exception);
  EXPECT_FALSE(fs::exists(pack_));
  EXPECT_THROW(export_pack(folder_, root_ / "no" / "where"), std::exception);
  DiskStore store(options());
  EXPECT_THROW(import_pack(store, root_ / "nothing"), std::exception);
}

}  // namespace
}  // namespace encore::cache
