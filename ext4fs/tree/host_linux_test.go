package tree

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/host"
	"github.com/e4kit/e4kit/testimages"
)

// fixture makes a directory with one of everything; what needs root is left
// out without it.
func fixture(t testing.TB) string {
	t.Helper()
	dir := testimages.Scratch(t)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	root := os.Geteuid() == 0
	check(os.MkdirAll(dir+"/usr/share/doc", 0o755))
	check(os.Mkdir(dir+"/empty", 0o700))
	check(os.WriteFile(dir+"/usr/hello", []byte("hello\n"), 0o644))
	check(os.WriteFile(dir+"/usr/share/doc/setuid", bytes.Repeat([]byte("x"), 70000), 0o755))
	check(os.Chmod(dir+"/usr/share/doc/setuid", 0o755|fs.ModeSetuid))
	check(os.Link(dir+"/usr/hello", dir+"/usr/share/hard"))
	check(os.Symlink("../nowhere", dir+"/usr/link"))
	check(os.Symlink(strings.Repeat("t", 4000), dir+"/usr/long"))
	check(unix.Mkfifo(dir+"/fifo", 0o640))
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	check(err)
	old, err := os.Getwd()
	check(err)
	check(os.Chdir(dir))
	check(unix.Bind(s, &unix.SockaddrUnix{Name: "socket"}))
	check(os.Chdir(old))
	check(unix.Close(s))
	check(os.WriteFile(dir+"/name\xff\n é", nil, 0o600))
	f, err := os.Create(dir + "/holes")
	check(err)
	_, err = f.WriteAt([]byte("data"), 1<<20)
	check(err)
	check(f.Truncate(5 << 20))
	check(f.Close())
	if root {
		check(unix.Mknod(dir+"/char", unix.S_IFCHR|0o600, int(unix.Mkdev(5, 1))))
		check(unix.Mknod(dir+"/block", unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))))
		check(os.Lchown(dir+"/usr/link", 12, 13))
		group := uint32(4294967293)
		check(os.Chown(dir+"/usr/hello", 100000, int(group)))
		setxattr := func(name, attr string, value []byte) {
			if err := unix.Lsetxattr(dir+"/"+name, attr, value, 0); err != nil && err != unix.EOPNOTSUPP {
				t.Fatal(err)
			}
		}
		setxattr("usr/hello", "user.note", []byte("a note"))
		setxattr("usr/hello", "trusted.secret", bytes.Repeat([]byte{7}, 3000))
		setxattr("usr/hello", "security.capability", []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		acl := disk.EncodeCallACL([]disk.ACLEntry{
			{Tag: disk.ACLUserObj, Perm: 7}, {Tag: disk.ACLUser, Perm: 5, ID: 1000}, {Tag: disk.ACLGroupObj, Perm: 5},
			{Tag: disk.ACLMask, Perm: 5}, {Tag: disk.ACLOther, Perm: 0},
		})
		setxattr("empty", "system.posix_acl_access", acl)
		setxattr("empty", "system.posix_acl_default", acl)
		setxattr(".", "user.root", []byte("of the root"))
	}
	at := time.Unix(1_600_000_000, 123456789)
	for _, name := range []string{"usr/hello", "usr/link", "empty", "."} {
		atime, err := unix.TimeToTimespec(time.Unix(at.Unix()+7, 1))
		check(err)
		mtime, err := unix.TimeToTimespec(at)
		check(err)
		ts := []unix.Timespec{atime, mtime}
		check(unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/"+name, ts, unix.AT_SYMLINK_NOFOLLOW))
	}
	warm(t, dir)
	return dir
}

// warm reads all there is, so that reading it again changes no time of access.
func warm(t testing.TB, dir string) {
	t.Helper()
	time.Sleep(20 * time.Millisecond) // times of access later than any other
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() {
			_, err = os.ReadFile(path)
		} else if d.Type() == fs.ModeSymlink {
			_, err = os.Readlink(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// compare compares a tree with a directory of the host, by lstat, readlink,
// getxattr and read.
func compare(t *testing.T, tr *Tree, at ID, dir string) {
	t.Helper()
	inodes := make(map[ID]uint64)
	var walk func(id ID, path string)
	walk = func(id ID, path string) {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		n := tr.Node(id)
		want := Node{Mode: uint16(st.Mode), UID: st.Uid, GID: st.Gid,
			Atime: UnixTime(st.Atim.Unix()), Mtime: UnixTime(st.Mtim.Unix()), Ctime: UnixTime(st.Ctim.Unix())}
		if n.IsRegular() {
			want.Size = st.Size
		}
		if n.IsDevice() {
			want.Major, want.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
		}
		if n.IsSymlink() {
			target, err := os.Readlink(path)
			if err != nil || tr.Target(id) != target {
				t.Errorf("%s: target %q, want %q (%v)", path, tr.Target(id), target, err)
			}
			want.Size = int64(len(target))
		}
		got := Node{Mode: n.Mode, UID: n.UID, GID: n.GID, Atime: n.Atime, Mtime: n.Mtime, Ctime: n.Ctime, Size: n.Size, Major: n.Major, Minor: n.Minor}
		if got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
		if ino, ok := inodes[id]; ok && ino != st.Ino {
			t.Errorf("%s: a hard link to another inode", path)
		}
		inodes[id] = st.Ino
		if !n.IsDir() && uint64(n.Links) != uint64(st.Nlink) {
			t.Errorf("%s: %d links, want %d", path, n.Links, st.Nlink)
		}
		list, err := host.Xattrs(path, false, wantedXattr)
		if err != nil {
			t.Fatal(err)
		}
		var attrs []Xattr
		for _, x := range list {
			attrs = append(attrs, Xattr(x))
		}
		if !slices.EqualFunc(tr.Xattrs(id), tidy(attrs), sameXattr) {
			t.Errorf("%s: attributes %v, want %v", path, tr.Xattrs(id), attrs)
		}
		if n.IsRegular() {
			compareContent(t, tr, id, path)
		}
		if !n.IsDir() {
			return
		}
		list2, err := os.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		entries := tr.Entries(id)
		if len(entries) != len(list2) {
			t.Errorf("%s: %d names, want %d", path, len(entries), len(list2))
			return
		}
		for i, e := range entries {
			if e.Name != list2[i].Name() {
				t.Errorf("%s: name %q, want %q", path, e.Name, list2[i].Name())
				continue
			}
			walk(e.ID, path+"/"+e.Name)
		}
	}
	walk(at, dir)
}

func compareContent(t *testing.T, tr *Tree, id ID, path string) {
	t.Helper()
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := tr.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	spans, err := tr.Spans(id)
	if err != nil {
		t.Fatal(err)
	}
	if spans == nil {
		spans = []Span{{Len: tr.Node(id).Size}}
	}
	got := make([]byte, tr.Node(id).Size)
	for _, s := range spans {
		if n, err := f.ReadAt(got[s.Off:s.Off+s.Len], s.Off); n != int(s.Len) || err != nil && err != io.EOF {
			t.Errorf("%s: read %v: %d, %v", path, s, n, err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: content differs", path)
	}
	if h, off, ok := f.Host(); ok && len(want) > 0 {
		p := make([]byte, len(want))
		if _, err := h.ReadAt(p, off); err != nil || !bytes.Equal(p, want) {
			t.Errorf("%s: host file: %v", path, err)
		}
	}
}

func TestFromDir_everything(t *testing.T) {
	dir := fixture(t)
	tr := load(t, Options{Warn: func(path string, err error) { t.Errorf("%s: %v", path, err) }}, Dir(dir))
	compare(t, tr, Root, dir)
	id, _ := tr.LookupPath("holes")
	spans, err := tr.Spans(id)
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, s := range spans {
		sum += s.Len
	}
	if spans == nil || sum == 0 || sum > 1<<20 {
		t.Errorf("holes: %v", spans)
	}
}

// TestFromDir_realTrees reads what this machine has.
func TestFromDir_realTrees(t *testing.T) {
	dir := filepath.Join(cmp.Or(os.Getenv("GOROOT"), "/usr/local/go"), "src/net")
	if _, err := os.Stat(dir); err != nil {
		testimages.Absent(t, "needs the sources of Go: "+err.Error())
	}
	warm(t, dir)
	a, b := load(t, Options{}, Dir(dir)), load(t, Options{}, Dir(dir))
	compare(t, a, Root, dir)
	if x, y := list(a, Root), list(b, Root); !slices.Equal(x, y) {
		t.Error("two readings differ")
	}
	for id := range ID(a.Len()) {
		if a.Path(id) != b.Path(id) {
			t.Fatalf("node %d is %s, then %s", id, a.Path(id), b.Path(id))
		}
	}
}

// list gives all paths, in the order of a walk.
func list(tr *Tree, id ID) []string { return listBelow(tr, id, "/") }

func listBelow(tr *Tree, id ID, path string) []string {
	var all []string
	for _, e := range tr.Entries(id) {
		if !tr.Node(e.ID).IsDir() {
			all = append(all, path+e.Name)
			continue
		}
		all = append(all, path+e.Name+"/")
		all = append(all, listBelow(tr, e.ID, path+e.Name+"/")...)
	}
	return all
}

func TestFromDir_times(t *testing.T) {
	dir := testimages.Scratch(t)
	if err := os.WriteFile(dir+"/f", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ts := []unix.Timespec{{Sec: 1_500_000_000, Nsec: 1}, {Sec: -5, Nsec: 123456789}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/f", ts, 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o            Options
		atime, mtime Time
	}{
		{Options{}, UnixTime(1_500_000_000, 1), UnixTime(-5, 123456789)},
		{Options{MtimeOnly: true}, UnixTime(-5, 123456789), UnixTime(-5, 123456789)},
		{Options{ClampTime: new(UnixTime(1_400_000_000, 0))}, UnixTime(1_400_000_000, 0), UnixTime(-5, 123456789)},
	} {
		tr := load(t, c.o, Dir(dir))
		id, _ := tr.LookupPath("f")
		n := tr.Node(id)
		if n.Atime != c.atime || n.Mtime != c.mtime {
			t.Errorf("%v, %v, want %v, %v", n.Atime, n.Mtime, c.atime, c.mtime)
		}
		if c.o.ClampTime != nil && n.Ctime != *c.o.ClampTime || c.o.MtimeOnly && n.Ctime != n.Mtime {
			t.Errorf("ctime %v", n.Ctime)
		}
	}
}

// TestFromDir_manyNames reads a directory that several goroutines share.
func TestFromDir_manyNames(t *testing.T) {
	dir := testimages.Scratch(t)
	for i := range 5000 {
		name := fmt.Sprintf("%s/%d", dir, i*7919%5000)
		var err error
		switch i % 10 {
		case 0:
			err = os.Symlink(strings.Repeat("x", i/10+1), name)
		case 1:
			err = os.Mkdir(name, 0o755)
		default:
			err = os.WriteFile(name, nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	warm(t, dir)
	a, b := load(t, Options{}, Dir(dir)), load(t, Options{}, Dir(dir))
	compare(t, a, Root, dir)
	for id := range ID(a.Len()) {
		if a.Path(id) != b.Path(id) {
			t.Fatalf("node %d is %s, then %s", id, a.Path(id), b.Path(id))
		}
	}
	if got := list(load(t, Options{Exclude: []string{"*[0-8]", "?", "??", "???"}}, Dir(dir)), Root); len(got) != 400 {
		t.Errorf("%d names", len(got))
	}
}

func TestFromDir_errors(t *testing.T) {
	dir := testimages.Scratch(t)
	if _, err := Load(context.Background(), Options{}, Dir(dir+"/nope")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if err := os.WriteFile(dir+"/f", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(context.Background(), Options{}, Dir(dir+"/f")); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Load(ctx, Options{}, Dir(dir)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := Load(context.Background(), Options{Exclude: []string{"["}}, Dir(dir)); !errors.Is(err, ErrPattern) {
		t.Errorf("pattern: %v", err)
	}
	if _, err := Load(context.Background(), Options{MaxNodes: 1}, Dir(dir)); !errors.Is(err, ErrTooMany) {
		t.Errorf("too many: %v", err)
	}
}

func TestFromDir_changesMeanwhile(t *testing.T) {
	dir := testimages.Scratch(t)
	for _, name := range []string{"short", "fifo", "gone", "link", "d/f"} {
		if err := os.MkdirAll(filepath.Dir(dir+"/"+name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+name, []byte("content"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tr := load(t, Options{}, Dir(dir))
	read := func(name string) error {
		id, ok := tr.LookupPath(name)
		if !ok {
			t.Fatal(name)
		}
		_, err := tr.ReadFile(context.Background(), id, 100)
		if err != nil && !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
		return err
	}
	for _, err := range []error{
		os.Truncate(dir+"/short", 3),
		os.Remove(dir + "/fifo"), unix.Mkfifo(dir+"/fifo", 0o600),
		os.Remove(dir + "/gone"),
		os.Remove(dir + "/link"), os.Symlink("short", dir+"/link"),
		os.Rename(dir+"/d", dir+"/e"), os.Symlink("e", dir+"/d"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := read("short"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("shorter: %v", err)
	}
	if err := read("fifo"); !errors.Is(err, ErrChanged) {
		t.Errorf("fifo: %v", err)
	}
	if err := read("gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
	if err := read("link"); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("link: %v", err)
	}
	if err := read("d/f"); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("through a link: %v", err)
	}
	s := tr.sources[1].(*hostSource)
	if _, err := s.root.File("d/f", 1, ErrChanged); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("through a link: %v", err)
	}
}

func TestFromDir_deep(t *testing.T) {
	dir := testimages.Scratch(t)
	at, err := unix.Open(dir, unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	const depth = 100
	name := strings.Repeat("d", 200)
	for range depth { // the path is longer than a system call takes
		if err := unix.Mkdirat(at, name, 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, name, unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(at)
		at = next
	}
	fd, err := unix.Openat(at, "f", unix.O_CREAT|unix.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	unix.Write(fd, []byte("deep"))
	unix.Close(fd)
	unix.Close(at)
	tr := load(t, Options{}, Dir(dir))
	id, ok := tr.LookupPath(strings.Repeat(name+"/", depth) + "f")
	if !ok {
		t.Fatal("not found")
	}
	if b, err := tr.ReadFile(context.Background(), id, 10); err != nil || string(b) != "deep" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestFromDir_leaveAndFilters(t *testing.T) {
	dir := fixture(t)
	info, err := os.Stat(dir + "/holes")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    Options
		want []string
	}{
		{Options{Leave: []fs.FileInfo{info}, Exclude: []string{"/usr", "char", "block", "name*", "socket"}}, []string{"/empty/", "/fifo"}},
		{Options{Include: []string{"hel*"}}, []string{"/usr/", "/usr/hello"}},
		{Options{Include: []string{"doc/"}}, []string{"/usr/", "/usr/share/", "/usr/share/doc/", "/usr/share/doc/setuid"}},
		{Options{Include: []string{"/usr"}, Exclude: []string{"l*", "doc"}}, []string{"/usr/", "/usr/hello", "/usr/share/", "/usr/share/hard"}},
		{Options{Include: []string{"/usr/**/setuid", "/empty"}}, []string{"/empty/", "/usr/", "/usr/share/", "/usr/share/doc/", "/usr/share/doc/setuid"}},
		{Options{Include: []string{"nothing"}}, nil},
	} {
		tr := load(t, c.o, Dir(dir))
		if got := list(tr, Root); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.o, got, c.want)
		}
	}
}

func TestFromDir_oneFS(t *testing.T) {
	testimages.RequireRoot(t)
	dir := testimages.Scratch(t)
	if err := os.Mkdir(dir+"/mnt", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir+"/mnt", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir+"/mnt", unix.MNT_DETACH)
	if err := os.WriteFile(dir+"/mnt/f", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, one := range []bool{false, true} {
		want := []string{"/mnt/", "/mnt/f"}
		if one {
			want = want[:1]
		}
		if got := list(load(t, Options{OneFS: one}, Dir(dir)), Root); !slices.Equal(got, want) {
			t.Errorf("%v: %q", one, got)
		}
	}
}

// TestFromDir_unreadable runs as somebody who may not read everything.
func TestFromDir_unreadable(t *testing.T) {
	if dir := os.Getenv("E4KIT_TEST_UNREADABLE"); dir != "" {
		_, err := Load(context.Background(), Options{}, Dir(dir+"/a"))
		fmt.Println("directory:", err)
		tr, err := Load(context.Background(), Options{}, Dir(dir+"/b"))
		if err != nil {
			t.Fatal(err)
		}
		id, _ := tr.LookupPath("f")
		_, err = tr.Open(id)
		fmt.Println("file:", err)
		return
	}
	testimages.RequireRoot(t)
	dir := testimages.Scratch(t)
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.MkdirAll(dir+"/a/closed", 0o755), os.Chmod(dir+"/a/closed", 0),
		os.Mkdir(dir+"/b", 0o755), os.WriteFile(dir+"/b/f", nil, 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestFromDir_unreadable$", "-test.v")
	cmd.Env = append(os.Environ(), "E4KIT_TEST_UNREADABLE="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, fs.ErrPermission) || bytes.Contains(out, []byte("no such file")) {
		testimages.Absent(t, fmt.Sprintf("needs a test program that another user can run: %v", err))
	}
	for _, want := range []string{"directory: read " + dir + "/a/closed: permission denied", "file: open /f: permission denied"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("no %q in %s", want, out)
		}
	}
}

// TestFromDir_oldKernel reads attributes as before Linux 6.13.
func TestFromDir_oldKernel(t *testing.T) {
	dir := fixture(t)
	fd, err := unix.Open(dir+"/usr", unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var old, now host.Dirs
	old.NoListAt.Store(true)
	for _, name := range []string{".", "hello", "link", "share"} {
		a, errA := old.Xattrs(fd, name, "", wantedXattr)
		b, errB := now.Xattrs(fd, name, "", wantedXattr)
		if errA != nil || errB != nil || !slices.EqualFunc(a, b, func(a, b host.Xattr) bool { return sameXattr(Xattr(a), Xattr(b)) }) {
			t.Errorf("%s: %v, %v; %v, %v", name, a, errA, b, errB)
		}
		if name == "hello" && os.Geteuid() == 0 && len(a) == 0 {
			t.Errorf("%s: no attributes", name)
		}
	}
}

func TestFromDir_walksWithoutOpenat2(t *testing.T) {
	dir := fixture(t)
	r, err := host.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.WalkOnly()
	f, err := r.File("usr/share/doc/setuid", 70000, ErrChanged)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := f.ReadAt(make([]byte, 70001), 0); n != 70000 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
	if err := os.Symlink("usr", dir+"/other"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.File("other/hello", 1, ErrChanged); !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.ELOOP) {
		t.Errorf("through a link: %v", err)
	}
	if _, err := r.File("usr/link", 1, ErrChanged); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a link: %v", err)
	}
}

func TestLoad_layers(t *testing.T) {
	a, b := testimages.Scratch(t)+"/a", testimages.Scratch(t)+"/b"
	write := func(base string, files ...string) {
		for _, f := range files {
			name, content, file := strings.Cut(f, "=")
			path := base + "/" + name
			if !file {
				if err := os.MkdirAll(path, 0o755); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(a, "both/one=1", "both/two=2", "file=a", "dir/below/deep=x", "was=file")
	write(b, "both/two=second", "both/three=3", "file=b", "dir=now a file", "was/dir=y")
	if err := os.Chmod(b+"/both", 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(a+"/file", a+"/hard"); err != nil {
		t.Fatal(err)
	}
	tr := load(t, Options{}, Dir(a), Dir(b))
	want := []string{"/both/", "/both/one", "/both/three", "/both/two", "/dir", "/file", "/hard", "/was/", "/was/dir"}
	if got := list(tr, Root); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for name, content := range map[string]string{"both/two": "second", "file": "b", "hard": "a", "dir": "now a file", "was/dir": "y", "both/one": "1"} {
		id, _ := tr.LookupPath(name)
		if got, err := tr.ReadFile(context.Background(), id, 100); err != nil || string(got) != content {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if tr.Node(id).Links != 1 {
			t.Errorf("%s: %d links", name, tr.Node(id).Links)
		}
	}
	both, _ := tr.LookupPath("both")
	if tr.Node(both).Mode != disk.ModeDir|0o711 {
		t.Errorf("mode 0%o", tr.Node(both).Mode)
	}
}

// TestDir_noXattrs: without its ACL a file gives its group what the ACL did.
func TestDir_noXattrs(t *testing.T) {
	dir := testimages.Scratch(t)
	value := disk.EncodeCallACL([]disk.ACLEntry{
		{Tag: disk.ACLUserObj, Perm: 6}, {Tag: disk.ACLUser, Perm: 6, ID: 1000}, {Tag: disk.ACLGroupObj, Perm: 4},
		{Tag: disk.ACLMask, Perm: 6}, {Tag: disk.ACLOther, Perm: 0},
	})
	for _, name := range []string{"with", "without"} {
		if err := os.WriteFile(dir+"/"+name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir+"/"+name, 0o660); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []string{dir, dir + "/with"} {
		if err := unix.Setxattr(at, "system.posix_acl_access", value, 0); err != nil {
			testimages.Absent(t, "needs ACLs: "+err.Error())
		}
	}
	x := load(t, Options{NoXattrs: true}, Dir(dir))
	for path, want := range map[string]uint16{
		"": disk.ModeDir | 0o640, "with": disk.ModeRegular | 0o640, "without": disk.ModeRegular | 0o660,
	} {
		id, ok := x.LookupPath(path)
		if !ok {
			t.Fatal(path, "is not there")
		}
		if m := x.Node(id).Mode; m != want || len(x.Xattrs(id)) != 0 {
			t.Errorf("%s: mode %o, not %o; attributes %v", path, m, want, x.Xattrs(id))
		}
	}
}

// TestFromDir_farTimes: times beyond 2038, and before 1970, are those of the host on
// machines with words of 32 bits too.
func TestFromDir_farTimes(t *testing.T) {
	testimages.RequireTool(t, "touch")
	dir := t.TempDir()
	for name, sec := range map[string]string{"far": "7258118400.25", "old": "-1000000000"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		testimages.Run(t, "touch", "-d", "@"+sec, filepath.Join(dir, name))
	}
	testimages.Run(t, "touch", "-d", "@7258118401", dir)
	tr := New()
	if err := FromDir(t.Context(), tr, Root, dir, &Options{}); err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for path, want := range map[string]Time{"/": UnixTime(7258118401, 0), "/far": UnixTime(7258118400, 250000000), "/old": UnixTime(-1000000000, 0)} {
		id, ok := tr.LookupPath(path)
		if n := tr.Node(id); !ok || n.Mtime != want || n.Atime != want {
			t.Errorf("%s: %v and %v, want %v", path, n.Mtime.Time(), n.Atime.Time(), want.Time())
		}
	}
}
