// Whatever lies in the folder of a disk cache: is a read ever wrong, or more than a miss?
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <map>

#include "disk_folder.h"

namespace encore::cache {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(DiskFolder, GivesWhatWasWritten) {
  std::map<std::pair<std::string, std::string>, Bytes> written;
  DiskStore store(options());
  std::mt19937 random(1);
  for (size_t size : {0, 1, 2, 100, 4096, 100'000, 3'000'000}) {
    for (size_t key_size : {0, 1, 30, 5000}) {
      const std::string kind(1 + random() % 8, 'a' + random() % 26);
      std::string key(key_size, '\0');
      for (char& byte : key) byte = char(random());
      written[{kind, key}] = random_bytes(random(), size);
    }
  }
  for (const auto& [name, payload] : written) EXPECT_FALSE(store.read(name.first, name.second));
  for (const auto& [name, payload] : written)
    EXPECT_TRUE(store.write(name.first, name.second, payload));
  DiskStore later(options());
  for (DiskStore* reader : {&store, &later}) {
    for (const auto& [name, payload] : written) {
      EXPECT_EQ(reader->read(name.first, name.second), payload);
      EXPECT_FALSE(reader->read(name.first + 'x', name.second));
      EXPECT_FALSE(reader->read(name.first, name.second + 'x'));
    }
  }
  EXPECT_EQ(later.statistics().hits, written.size());
  EXPECT_EQ(later.statistics().misses, 2 * written.size());
  EXPECT_EQ(later.statistics().rejected, 0);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(DiskFolder, KindAndKeyAreKeptApart) {
  DiskStore store(options());
  store.write("a", "bc", bytes_of("1"));
  store.write("ab", "c", bytes_of("2"));
  EXPECT_EQ(store.read("a", "bc"), bytes_of("1"));
  EXPECT_EQ(store.read("ab", "c"), bytes_of("2"));
}

TEST_F(DiskFolder, AWriteReplaces) {
  DiskStore store(options());
  store.write("a", "key", bytes_of("first"));
  store.write("a", "key", bytes_of("second"));
  EXPECT_EQ(store.read("a", "key"), bytes_of("second"));
  EXPECT_EQ(files(".entry").size(), 1u);
}

TEST_F(DiskFolder, IsPrivate) {
  const mode_t mask = ::umask(0);
  DiskStore(options()).write("a", "key", bytes_of("value"));
  ::umask(mask);
  auto mode = [](const fs::path& path) { return fs::status(path).permissions(); };
  const fs::path file = path_to("a", "key");
  EXPECT_EQ(mode(file), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(mode(file.parent_path()), fs::perms::owner_all);
  EXPECT_EQ(mode(folder_), fs::perms::owner_all);
  EXPECT_EQ(mode(folder_ / sweep_lock), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(DiskFolder, EqualEntriesAreEqualFiles) {
  DiskStore(options()).write("a", "key", random_bytes(1, 1000));
  const Bytes here = read_file(path_to("a", "key"));
  DiskOptions elsewhere = options();
  elsewhere.folder = root_ / "elsewhere";
  DiskStore(elsewhere).write("a", "key", random_bytes(1, 1000));
  EXPECT_EQ(read_file(elsewhere.folder / path_of(entry_name("a", "key"))), here);
}

TEST_F(DiskFolder, ACopyHits) {
  {
    DiskStore store(options());
    for (int i = 0; i < 50; ++i) store.write("a", std::to_string(i), random_bytes(i, i * 10));
  }
  fs::copy(folder_, root_ / "copy", fs::copy_options::recursive);
  DiskOptions copied = options();
  copied.folder = root_ / "copy";
  DiskStore store(copied);
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(store.read("a", std::to_string(i)), random_bytes(i, i * 10));
}

// Every read of a small entry whose file was changed; a good neighbour is read each time.
class DamagedEntry : public DiskFolder {
 protected:
  DamagedEntry() : store_(options()) {
    store_.write("binary", "the key", bytes_of("the payload of this entry"));
    store_.write("binary", "neighbour", bytes_of("good"));
    good_ = read_file(file_);
  }
  void expect_miss(const std::string& what) {
    const int64_t rejected = store_.statistics().rejected;
    EXPECT_FALSE(store_.read("binary", "the key")) << what;
    EXPECT_EQ(store_.statistics().rejected, rejected + 1) << what;
    EXPECT_EQ(store_.read("binary", "neighbour"), bytes_of("good")) << what;
  }
  /// The next run compiles again and writes.
  void expect_rebuilt() {
    EXPECT_TRUE(store_.write("binary", "the key", bytes_of("rebuilt")));
    EXPECT_EQ(store_.read("binary", "the key"), bytes_of("rebuilt"));
    write_file(file_, good_);
    EXPECT_TRUE(store_.read("binary", "the key"));
  }
  const fs::path file_ = path_to("binary", "the key");
  DiskStore store_;
  Bytes good_;
};

TEST_F(DamagedEntry, InAnyBitIsAMiss) {
  for (size_t i = 0; i < good_.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes damaged = good_;
      damaged[i] ^= std::byte(1 << bit);
      write_file(file_, damaged);
      expect_miss("byte " + std::to_string(i) + ", bit " + std::to_string(bit));
    }
  }
  expect_rebuilt();
}

TEST_F(DamagedEntry, CutOffAnywhereIsAMiss) {
  for (size_t size = 0; size < good_.size(); ++size) {
    write_file(file_, std::span(good_).first(size));
    expect_miss("size " + std::to_string(size));
  }
  expect_rebuilt();
}

TEST_F(DamagedEntry, WithSomethingBehindItIsAMiss) {
  for (size_t more : {1, 2, 88, 1000, 1 << 20}) {
    Bytes longer = good_;
    longer.resize(good_.size() + more);
    write_file(file_, longer);
    expect_miss(std::to_string(more));
  }
  Bytes twice = good_;
  twice.insert(twice.end(), good_.begin(), good_.end());
  write_file(file_, twice);
  expect_miss("twice");
  expect_rebuilt();
}

TEST_F(DamagedEntry, WithZerosFromSomewhereOnIsAMiss) {  // as a loss of power leaves them
  for (size_t from = 0; from < good_.size(); from += 3) {
    Bytes torn = good_;
    std::fill(torn.begin() + from, torn.end(), std::byte(0));
    write_file(file_, torn);
    if (torn != good_) expect_miss(std::to_string(from));
  }
  expect_rebuilt();
}

TEST_F(DamagedEntry, OfRandomBytesIsAMiss) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 300; ++i) {
    write_file(file_, random_bytes(random(), random() % 4000));
    expect_miss(std::to_string(i));
  }
  expect_rebuilt();
}

TEST_F(DamagedEntry, UnderAnothersNameIsAMiss) {
  const fs::path neighbour = path_to("binary", "neighbour");
  const Bytes other = read_file(neighbour);
  store_.write("kernel", "the key", bytes_of("of another kind"));
  for (const Bytes& foreign : {other, read_file(path_to("kernel", "the key"))}) {
    write_file(file_, foreign);
    expect_miss("foreign");
  }
  write_file(neighbour, good_);
  EXPECT_FALSE(store_.read("binary", "neighbour"));
  write_file(neighbour, other);
  expect_rebuilt();
}

TEST_F(DamagedEntry, ThatIsNoRegularFileIsAMissAndHoldsNobodyUp) {
  fs::remove(file_);
  ASSERT_EQ(::mkfifo(file_.c_str(), 0600), 0);
  expect_miss("pipe");
  expect_rebuilt();

  const fs::path real = root_ / "real";
  write_file(real, good_);
  fs::remove(file_);
  fs::create_symlink(real, file_);
  expect_miss("link");
  expect_rebuilt();

  fs::remove(file_);
  fs::create_symlink("/dev/zero", file_);
  expect_miss("link to a device");
  expect_rebuilt();

  fs::remove(file_);
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX};
  const std::string name = "socket";
  const fs::path before = fs::current_path();
  fs::current_path(file_.parent_path());  // the address is short
  name.copy(address.sun_path, name.size());
  ASSERT_EQ(::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  fs::current_path(before);
  fs::rename(file_.parent_path() / name, file_);
  EXPECT_FALSE(store_.read("binary", "the key"));
  ::close(socket);
  expect_rebuilt();

  fs::remove(file_);
  fs::create_directory(file_);
  expect_miss("folder");
  EXPECT_FALSE(store_.write("binary", "the key", bytes_of("rebuilt")));
  fs::remove(file_);
  expect_rebuilt();
}

TEST_F(DamagedEntry, ThatOthersCanWriteIsAMiss) {
  for (fs::perms perms : {fs::perms::group_write, fs::perms::others_write}) {
    fs::permissions(file_, perms, fs::perm_options::add);
    expect_miss("file");
    write_file(file_, good_);
    fs::permissions(file_.parent_path(), perms, fs::perm_options::add);
    EXPECT_FALSE(store_.read("binary", "the key"));
    fs::permissions(file_.parent_path(), perms, fs::perm_options::remove);
  }
  expect_rebuilt();
}

TEST_F(DamagedEntry, OfAnotherUserIsAMiss) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root gives files away";
  ASSERT_EQ(::chown(file_.c_str(), nobody, nobody), 0);
  expect_miss("file");
  expect_rebuilt();
  ASSERT_EQ(::chown(file_.parent_path().c_str(), nobody, nobody), 0);
  EXPECT_FALSE(store_.read("binary", "the key"));
}

TEST_F(DamagedEntry, IsToldOncePerCause) {
  Bytes damaged = good_;
  damaged.back() ^= std::byte(1);
  write_file(file_, damaged);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(store_.read("binary", "the key"));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("its checksum differs")));
  write_file(file_, std::span(good_).first(10));
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(store_.read("binary", "the key"));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("checksum"), HasSubstr("it is cut off")));
  EXPECT_THAT(warnings_[0], HasSubstr(file_.string()));
}

// What a dishonest writer makes: sizes and frames at odds, under a right checksum.
Bytes sealed(EntryHeader header, std::span<const std::byte> body) {
  header.body = hash_bytes(body.data(), body.size());
  header.checksum = hash_bytes(&header, offsetof(EntryHeader, checksum));
  Bytes bytes(sizeof header);
  std::memcpy(bytes.data(), &header, sizeof header);
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

TEST(SealedEntry, WithImpossibleSizesIsRefused) {
  const Bytes good = encode_entry("kind", "key", random_bytes(1, 100));
  EntryHeader header;
  std::memcpy(&header, good.data(), sizeof header);
  const auto body = std::span(good).subspan(sizeof header);
  ASSERT_EQ(sealed(header, body), good) << "the seal of this test is not the entry's";
  ASSERT_TRUE(decode_entry(good).entry);
  for (uint64_t size : {uint64_t(1) << 63, ~uint64_t(0), uint64_t(1) << 40, uint64_t(400) << 20,
                        uint64_t(99), uint64_t(101), uint64_t(0), ~uint64_t(0) - 6}) {
    for (auto field :
         {&EntryHeader::key_size, &EntryHeader::payload_size, &EntryHeader::body_size}) {
      EntryHeader changed = header;
      changed.*field = size;
      EXPECT_FALSE(decode_entry(sealed(changed, body)).entry) << size;
    }
    if (size == 0) continue;
    EntryHeader changed = header;  // two that cancel out
    changed.key_size += size;
    changed.payload_size -= size;
    EXPECT_FALSE(decode_entry(sealed(changed, body)).entry) << size;
  }
}

TEST(SealedEntry, OfRandomChangesIsItselfOrRefused) {
  const Bytes payload = random_bytes(3, 3000);
  const Bytes good = encode_entry("kind", "key", payload);
  std::mt19937_64 random(5);
  int refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    EntryHeader header;
    std::memcpy(&header, good.data(), sizeof header);
    Bytes body(good.begin() + sizeof header, good.end());
    for (int changes = 1 + random() % 3; changes > 0; --changes) {
      if (random() % 2) {
        body[random() % std::min<size_t>(body.size(), 60)] ^= std::byte(1 + random() % 255);
      } else {
        body.resize(1 + random() % (body.size() + 3));
      }
    }
    header.body_size = body.size();
    const DecodedEntry decoded = decode_entry(sealed(header, body));
    refused += !decoded.entry;
    if (decoded.entry) {
      EXPECT_EQ(decoded.entry->kind, "kind");
      EXPECT_EQ(decoded.entry->key, "key");
      EXPECT_EQ(decoded.entry->payload.size(), payload.size());
    } else {
      EXPECT_FALSE(decoded.problem.empty());
    }
  }
  EXPECT_GT(refused, 10'000);
}

}  // namespace
}  // namespace encore::cache
