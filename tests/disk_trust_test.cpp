// Which folders does a disk cache use, where others could have written what it runs?
#include <encore/core/settings.h>

#include <cstdlib>

#include "disk_folder.h"

namespace encore::cache {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DiskTrust : public DiskFolder {
 protected:
  void expect_used(const DiskOptions& options) {
    DiskStore store(options);
    EXPECT_TRUE(store.write("a", "key", bytes_of("value")));
    EXPECT_EQ(store.read("a", "key"), bytes_of("value"));
    EXPECT_THAT(warnings_, IsEmpty());
  }
  /// With one warning that says where and what.
  void expect_refused(const fs::path& offender, const std::string& why) {
    warnings_.clear();
    DiskStore store(options());
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(store.write("a", "key", bytes_of("value")));
      EXPECT_FALSE(store.read("a", "key"));
    }
    EXPECT_THAT(warnings_, ElementsAre(AllOf(HasSubstr(offender.string() + " "), HasSubstr(why))));
  }
};

TEST_F(DiskTrust, MakesAFolderAtTheFirstWrite) {
  DiskOptions deep = options();
  deep.folder = root_ / "not" / "yet" / "there";
  DiskStore store(deep);
  EXPECT_FALSE(store.read("a", "key"));
  EXPECT_FALSE(fs::exists(root_ / "not"));
  expect_used(deep);
  for (const char* made : {"not", "not/yet", "not/yet/there"})
    EXPECT_EQ(fs::status(root_ / made).permissions(), fs::perms::owner_all);
}

TEST_F(DiskTrust, MakesAFolderAnewThatWasRemoved) {
  DiskStore store(options());
  EXPECT_TRUE(store.write("a", "key", bytes_of("value")));
  fs::remove_all(folder_);
  EXPECT_FALSE(store.read("a", "key"));
  EXPECT_TRUE(store.write("a", "key", bytes_of("again")));
  EXPECT_EQ(store.read("a", "key"), bytes_of("again"));
  EXPECT_EQ(DiskStore(options()).read("a", "key"), bytes_of("again"));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(DiskTrust, NotAFolderThatOthersCanWrite) {
  expect_used(options());
  for (fs::perms perms : {fs::perms::group_write, fs::perms::others_write}) {
    fs::permissions(folder_, perms, fs::perm_options::add);
    expect_refused(folder_, "may be written by others; chmod go-w it");
    fs::permissions(folder_, perms, fs::perm_options::remove);
  }
  fs::permissions(folder_, fs::perms(0755));  // which others can only read
  warnings_.clear();
  expect_used(options());
}

TEST_F(DiskTrust, NotAFolderWithinOneThatOthersCanWrite) {
  expect_used(options());
  fs::permissions(root_, fs::perms::others_write, fs::perm_options::add);
  expect_refused(root_, "may be written by others");
  fs::permissions(root_, fs::perms::sticky_bit, fs::perm_options::add);  // as /tmp
  warnings_.clear();
  expect_used(options());
}

TEST_F(DiskTrust, ALinkToAPrivateFolderIsGood) {
  fs::create_directory(root_ / "real");
  fs::permissions(root_ / "real", fs::perms::owner_all);
  fs::create_symlink(root_ / "real", folder_);
  expect_used(options());
}

TEST_F(DiskTrust, NotALinkThatOthersCanReplace) {
  fs::create_directories(root_ / "open");
  fs::create_directories(root_ / "real");
  fs::create_symlink(root_ / "real", root_ / "open" / "cache");
  fs::create_symlink(root_ / "open" / "cache", folder_);
  DiskOptions through = options();
  through.folder = root_ / "open" / "cache";
  expect_used(through);
  fs::permissions(root_ / "open", fs::perms::others_write, fs::perm_options::add);
  DiskStore store(through);
  EXPECT_FALSE(store.read("a", "key"));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("may be written by others")));
}

TEST_F(DiskTrust, NotALinkIntoAnOpenFolder) {
  fs::create_directories(root_ / "open" / "cache");
  fs::permissions(root_ / "open", fs::perms::others_write, fs::perm_options::add);
  fs::create_symlink(root_ / "open" / "cache", folder_);
  expect_refused(root_ / "open", "may be written by others");
}

TEST_F(DiskTrust, NotAFolderOfAnotherUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root gives folders away";
  expect_used(options());
  ASSERT_EQ(::chown(folder_.c_str(), nobody, nobody), 0);
  expect_refused(folder_, "belongs to another user (uid 65534)");  // root as well
  ASSERT_EQ(::chown(folder_.c_str(), 0, 0), 0);
  ASSERT_EQ(::chown(root_.c_str(), nobody, nobody), 0);
  expect_refused(root_, "belongs to another user (uid 65534)");
  ASSERT_EQ(::chown(root_.c_str(), 0, 0), 0);
  fs::permissions(root_, fs::perms(0755));
  const auto as_nobody = [&] {  // into a folder that it cannot even look into
    warnings_.clear();
    DiskStore store(options());
    return store.write("a", "key", bytes_of("x")) || store.read("a", "key") ||
           warnings_.size() != 1;
  };
  EXPECT_EQ(in_child(as_nobody, nobody), 0);
}

TEST_F(DiskTrust, AFileOrANameTooLongIsNoFolder) {
  std::ofstream(folder_) << "a file";
  DiskStore file(options());
  EXPECT_FALSE(file.write("a", "key", bytes_of("value")));
  EXPECT_FALSE(file.read("a", "key"));
  EXPECT_EQ(warnings_.size(), 1u);
  DiskOptions long_name = options();
  long_name.folder = root_ / std::string(300, 'x');
  DiskStore store(long_name);
  EXPECT_FALSE(store.write("a", "key", bytes_of("value")));
  EXPECT_FALSE(store.read("a", "key"));
  EXPECT_THAT(warnings_, ElementsAre(testing::_, HasSubstr("File name too long")));
}

// Root writes everywhere, so another user tries.
TEST_F(DiskTrust, AReadOnlyFolderIsReadAndEndsNothing) {
  const uid_t user = ::geteuid() == 0 ? nobody : ::geteuid();
  DiskStore(options()).write("a", "key", bytes_of("value"));
  if (user != ::geteuid()) {
    for (const auto& entry : fs::recursive_directory_iterator(root_))
      ASSERT_EQ(::chown(entry.path().c_str(), user, user), 0);
    fs::permissions(root_, fs::perms(0755));
  }
  for (const auto& entry : fs::recursive_directory_iterator(root_))
    if (entry.is_directory()) fs::permissions(entry.path(), fs::perms(0500));
  const int status = in_child(
      [&] {
        DiskStore store(options());
        const bool written = store.write("a", "another", bytes_of("value"));
        const bool good = store.read("a", "key") == bytes_of("value");
        return written || !good || store.statistics().failed_writes != 1 || warnings_.size() != 1;
      },
      user);
  for (const auto& entry : fs::recursive_directory_iterator(root_))
    if (entry.is_directory()) fs::permissions(entry.path(), fs::perms::owner_all);
  EXPECT_EQ(status, 0);
}

TEST_F(DiskTrust, OnlyReadingMakesAndTouchesNothing) {
  DiskOptions reading = options();
  reading.writes = false;
  DiskStore early(reading);
  EXPECT_FALSE(early.write("a", "key", bytes_of("value")));
  EXPECT_FALSE(early.read("a", "key"));
  EXPECT_FALSE(fs::exists(folder_));
  DiskStore(options()).write("a", "key", bytes_of("value"));
  const fs::path file = path_to("a", "key");
  set_age(file, 100'000);
  EXPECT_EQ(early.read("a", "key"), bytes_of("value"));
  EXPECT_GE(age_of(file), 100'000);
  EXPECT_EQ(early.statistics().writes + early.statistics().failed_writes, 0);
  EXPECT_THAT(warnings_, IsEmpty());
}

// Settings and environment of the tests' process as they were, whatever a test does.
class DiskSettings : public DiskFolder {
 protected:
  ~DiskSettings() override { settings() = before_; }
  static std::string folder_with(const char* xdg, const char* home) {
    int ends[2];
    if (::pipe(ends) != 0) return "no pipe";
    const pid_t child = ::fork();
    if (child == 0) {
      xdg ? ::setenv("XDG_CACHE_HOME", xdg, 1) : ::unsetenv("XDG_CACHE_HOME");
      home ? ::setenv("HOME", home, 1) : ::unsetenv("HOME");
      const std::string folder = default_cache_folder();
      ::_exit(::write(ends[1], folder.data(), folder.size()) != folder.size());
    }
    ::close(ends[1]);
    char text[4096];
    const ssize_t size = ::read(ends[0], text, sizeof text);
    ::close(ends[0]);
    ::waitpid(child, nullptr, 0);
    return std::string(text, std::max<ssize_t>(size, 0));
  }
  const Settings before_ = settings();
};

TEST_F(DiskSettings, SayWhereTheFolderIs) {
  settings().cache_dir = "";
  EXPECT_EQ(folder_with("/x/cache", "/home/me"), "/x/cache/encore");
  EXPECT_EQ(folder_with(nullptr, "/home/me"), "/home/me/.cache/encore");
  EXPECT_EQ(folder_with("relative", "/home/me"), "/home/me/.cache/encore");
  EXPECT_EQ(folder_with("", ""), "");
  EXPECT_EQ(folder_with(nullptr, nullptr), "");
  settings().cache_dir = "/somewhere";
  EXPECT_EQ(folder_with("/x/cache", "/home/me"), "/somewhere");
}

TEST_F(DiskSettings, WithoutAFolderNothingIsKept) {
  DiskOptions nowhere = options();
  nowhere.folder.clear();
  DiskStore store(nowhere);
  EXPECT_FALSE(store.write("a", "key", bytes_of("value")));
  EXPECT_FALSE(store.read("a", "key"));
  EXPECT_EQ(warnings_.size(), 1u);
}

TEST_F(DiskSettings, SayHowItIsUsed) {
  settings().cache = "off";
  EXPECT_FALSE(disk_options_from_settings());
  settings().cache = "read";
  settings().cache_dir = "/somewhere";
  settings().cache_disk_bytes = 12345;
  settings().cache_pack = "/a/pack:/b/pack";
  const auto options = disk_options_from_settings();
  ASSERT_TRUE(options);
  EXPECT_FALSE(options->writes);
  EXPECT_EQ(options->folder, "/somewhere");
  EXPECT_EQ(options->budget_bytes, 12345);
  EXPECT_THAT(options->packs, ElementsAre("/a/pack", "/b/pack"));
  settings().cache = "on";
  EXPECT_TRUE(disk_options_from_settings()->writes);
  settings().cache = "raed";
  EXPECT_THROW(disk_options_from_settings(), std::exception);
}

}  // namespace
}  // namespace encore::cache
