package ext4fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// editRecord changes an inode's record as no call would.
func editRecord(t testing.TB, i *Inode, edit func(r disk.Inode)) {
	t.Helper()
	if err := i.change(func(h *txn) error { return i.update(h, edit) }); err != nil {
		t.Fatal(err)
	}
}

func rootOf(t testing.TB, f *FS) *Inode {
	t.Helper()
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func create(t testing.TB, d *Inode, name string, mode uint16) *Inode {
	t.Helper()
	i, err := d.Create(name, &NewNode{Mode: mode})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func wantErrno(t testing.TB, what string, err error, want syscall.Errno) {
	t.Helper()
	if want == 0 && err != nil || want != 0 && !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestLinkLimits(t *testing.T) {
	f := openWrite(t, formatRAM(t, 16<<20, "-b", "1024"))
	root := rootOf(t, f)
	d := create(t, root, "dir", disk.ModeDir|0o755)
	file := create(t, root, "file", 0o644)
	editRecord(t, file, func(r disk.Inode) { r.SetLinks(maxLinks - 1) })
	wantErrno(t, "last link", root.Link("l1", file), 0)
	wantErrno(t, "one link too many", root.Link("l2", file), syscall.EMLINK)

	editRecord(t, d, func(r disk.Inode) { r.SetLinks(maxLinks) })
	_, err := d.Create("sub", &NewNode{Mode: disk.ModeDir | 0o755})
	wantErrno(t, "too many in a directory without index", err, syscall.EMLINK)
	create(t, root, "other", disk.ModeDir|0o755)
	wantErrno(t, "move in", root.Rename("other", d, "other", 0), syscall.EMLINK)
	create(t, d, "plain", 0o644)
	wantErrno(t, "exchange", root.Rename("other", d, "plain", RenameExchange), syscall.EMLINK)
	wantErrno(t, "exchange back", d.Rename("plain", root, "other", RenameExchange), syscall.EMLINK)

	for k := range 100 { // gives it an index
		create(t, d, fmt.Sprintf("a-long-name-%d", k), 0o644)
	}
	if !d.indexed() {
		t.Fatal("no index")
	}
	create(t, d, "sub1", disk.ModeDir|0o755)
	if n := d.Stat().Links; n != 1 {
		t.Errorf("%d links, want 1", n)
	}
	create(t, d, "sub2", disk.ModeDir|0o755)
	wantErrno(t, "rmdir", d.Rmdir("sub1"), 0)
	if n := d.Stat().Links; n != 1 {
		t.Errorf("%d links, want 1", n)
	}
	wantErrno(t, "rmdir of the directory", root.Rmdir("dir"), syscall.ENOTEMPTY)
	closeWrite(t, f)
}

func TestProjects(t *testing.T) {
	dev := formatRAM(t, 16<<20, "-O", "project")
	f := openWrite(t, dev)
	root := rootOf(t, f)
	a, b := create(t, root, "a", disk.ModeDir|0o755), create(t, root, "b", disk.ModeDir|0o755)
	for n, d := range []*Inode{a, b} {
		editRecord(t, d, func(r disk.Inode) {
			r.SetProject(uint32(7 + n))
			r.SetFlags(r.Flags() | disk.FlagProjInherit)
		})
	}
	file, sub := create(t, a, "file", 0o644), create(t, a, "sub", disk.ModeDir|0o755)
	for _, i := range []*Inode{file, sub} {
		if st := i.Stat(); st.Project != 7 || st.Flags.Has(disk.FlagProjInherit) != st.Mode.IsDir() {
			t.Errorf("inode %d: project %d, flags %v", i.num, st.Project, st.Flags)
		}
	}
	create(t, b, "file", 0o644)
	wantErrno(t, "link", b.Link("l", file), syscall.EXDEV)
	wantErrno(t, "rename", a.Rename("file", b, "x", 0), syscall.EXDEV)
	wantErrno(t, "rename of a directory", a.Rename("sub", b, "x", 0), syscall.EXDEV)
	wantErrno(t, "exchange", a.Rename("file", b, "file", RenameExchange), syscall.EXDEV)
	wantErrno(t, "rename to a directory without project", a.Rename("file", root, "x", 0), 0)
	wantErrno(t, "and back", root.Rename("x", a, "file", 0), 0)
	wantErrno(t, "exchange with that", root.Rename("b", a, "file", RenameExchange), syscall.EXDEV)
	closeWrite(t, f)
	fsckDevice(t, dev)
}

func TestCreate_inherits(t *testing.T) {
	dev := formatRAM(t, 16<<20)
	clock := time.Unix(2_000_000_000, 123456789)
	f, err := Open(dev, &Options{Write: true, Clock: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	root := rootOf(t, f)
	d := create(t, root, "d", disk.ModeDir|disk.ModeSetgid|0o755)
	editRecord(t, d, func(r disk.Inode) {
		r.SetGID(70000)
		r.SetFlags(r.Flags() | disk.FlagNoAtime | disk.FlagSync | disk.FlagDirSync | disk.FlagTopDir | disk.FlagAppend)
	})
	for _, c := range []struct {
		kind  uint16
		flags disk.InodeFlags
	}{
		{disk.ModeRegular, disk.FlagExtents | disk.FlagNoAtime | disk.FlagSync},
		{disk.ModeDir, disk.FlagExtents | disk.FlagNoAtime | disk.FlagSync | disk.FlagDirSync},
		{disk.ModeFIFO, disk.FlagNoAtime},
		{disk.ModeSymlink, disk.FlagNoAtime},
	} {
		i, err := d.Create(fmt.Sprint(c.kind), &NewNode{Mode: c.kind | 0o666, UID: 100000, GID: 5, Umask: 0o027, Target: "x"})
		if err != nil {
			t.Fatal(err)
		}
		st := i.Stat()
		if st.Flags != c.flags || st.UID != 100000 || st.GID != 70000 {
			t.Errorf("%o: flags %v owner %d:%d, want %v", c.kind, st.Flags, st.UID, st.GID, c.flags)
		}
		mode := c.kind | 0o640
		if c.kind == disk.ModeSymlink {
			mode = c.kind | 0o777
		}
		if c.kind == disk.ModeDir {
			mode |= disk.ModeSetgid
		}
		if st.RawMode != mode {
			t.Errorf("mode %o, want %o", st.RawMode, mode)
		}
		for _, tm := range []time.Time{st.Atime, st.Mtime, st.Ctime, st.Crtime, d.Stat().Mtime, d.Stat().Ctime} {
			if !tm.Equal(clock) {
				t.Errorf("%o: time %v, want %v", c.kind, tm, clock)
			}
		}
		clock = clock.Add(time.Second)
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}

// TestNames_full: operations that find no space leave nothing behind.
func TestNames_full(t *testing.T) {
	for _, args := range [][]string{{"-b", "1024", "-N", "64"}, {"-b", "1024", "-N", "2000", "-m", "0"}, {"-b", "1024", "-O", "^extents,^64bit", "-N", "2000"}} {
		dev := formatRAM(t, 8<<20, args...)
		f := openWrite(t, dev)
		root := rootOf(t, f)
		if args[3] != "64" {
			i := create(t, root, "big", 0o644)
			_, err := i.WriteAt(make([]byte, 16<<20), 0)
			wantErrno(t, "fill", err, syscall.ENOSPC)
		}
		var err error
		n := 0
		for ; err == nil; n++ {
			_, err = root.Create(fmt.Sprintf("%0200d", n), &NewNode{Mode: disk.ModeRegular | 0o644})
		}
		wantErrno(t, "create", err, syscall.ENOSPC)
		_, err = root.Create("dir", &NewNode{Mode: disk.ModeDir | 0o755})
		wantErrno(t, "mkdir", err, syscall.ENOSPC)
		_, err = root.Create("link", &NewNode{Mode: disk.ModeSymlink, Target: strings.Repeat("t", 500)})
		wantErrno(t, "symlink", err, syscall.ENOSPC)
		wantErrno(t, "whiteout", root.Rename(fmt.Sprintf("%0200d", 0), root, fmt.Sprintf("%0210d", 0), RenameWhiteout), syscall.ENOSPC)
		used := f.live.alloc.Counts()
		if n > 10 {
			for k := range 5 {
				wantErrno(t, "unlink", root.Unlink(fmt.Sprintf("%0200d", k)), 0)
			}
			create(t, root, fmt.Sprintf("%0200d", 0), 0o644) // what was freed is there again
		}
		if now := f.live.alloc.Counts(); now.FreeInodes < used.FreeInodes {
			t.Errorf("free: %+v, was %+v", now, used)
		}
		closeWrite(t, f)
		fsckDevice(t, dev)
	}
}

func TestOpenFile(t *testing.T) {
	dev := formatRAM(t, 16<<20)
	f := openWrite(t, dev)
	for _, err := range []error{
		f.MkdirAll("/a/b/../b/c/", 0o755), f.MkdirAll("a/b", 0o700), f.Symlink("b/c", "a/link"), f.Symlink("/a/new", "a/dangling"),
		f.Symlink("loop", "loop"), f.WriteFile("a/link/file", []byte("content"), 0o600), f.Mknod("dev", fs.ModeDevice|0o600, 8, 1),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		flag int
		want syscall.Errno
	}{
		{"a/b/c/file", os.O_RDONLY, 0},
		{"a/b/c/file/", os.O_RDONLY, syscall.ENOTDIR},
		{"a/b/c/file/x", os.O_RDONLY, syscall.ENOTDIR},
		{"a/b/c/none", os.O_RDWR, syscall.ENOENT},
		{"a/b/c/none/", os.O_RDWR | os.O_CREATE, syscall.EISDIR},
		{"a/none/x", os.O_RDWR | os.O_CREATE, syscall.ENOENT},
		{"a/link", os.O_RDWR, syscall.EISDIR},
		{"a/link", os.O_RDONLY | os.O_CREATE, syscall.EISDIR},
		{"a/link", os.O_RDONLY, 0},
		{"a/link", os.O_RDWR | os.O_CREATE | os.O_EXCL, syscall.EEXIST},
		{"a/dangling", os.O_RDWR | os.O_CREATE | os.O_EXCL, syscall.EEXIST},
		{"a/dangling", os.O_RDWR, syscall.ENOENT},
		{"a/dangling", os.O_RDWR | os.O_CREATE, 0},
		{"a/new", os.O_RDWR | os.O_CREATE | os.O_EXCL, syscall.EEXIST},
		{"loop", os.O_RDONLY | os.O_CREATE, syscall.ELOOP},
		{".", os.O_RDONLY, 0},
		{"/", os.O_RDWR, syscall.EISDIR},
		{"", os.O_RDWR | os.O_CREATE, syscall.ENOENT},
		{strings.Repeat("n", 256), os.O_RDWR | os.O_CREATE, syscall.ENAMETOOLONG},
		{"dev", os.O_RDONLY, 0},
	} {
		file, err := f.OpenFile(c.name, c.flag, 0o644)
		wantErrno(t, fmt.Sprintf("open %.20q %x", c.name, c.flag), err, c.want)
		if err == nil {
			err = file.Close()
		}
		if e := (*fs.PathError)(nil); err != nil && !errors.As(err, &e) {
			t.Errorf("%T", err)
		}
	}
	file, err := f.OpenFile("a/b/c/file", os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(file, "other"); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := f.ReadFile("a/b/c/file"); err != nil || string(b) != "other" {
		t.Errorf("%q %v", b, err)
	}
	closeWrite(t, f)
	if _, err := f.Create("late"); err == nil {
		t.Error("create after close")
	}
	fsckDevice(t, dev)
}

func TestRemoveAll(t *testing.T) {
	dev := formatRAM(t, 64<<20, "-b", "1024", "-N", "16000")
	f := openWrite(t, dev)
	free := f.live.alloc.Counts()
	if err := f.MkdirAll("top/"+strings.Repeat("deep/", 300), 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := f.Lookup("top")
	if err != nil {
		t.Fatal(err)
	}
	for k := range 10_000 {
		create(t, d, fmt.Sprintf("file%d", k), 0o644)
	}
	sub := create(t, d, "sub", disk.ModeDir|0o755)
	kept := create(t, sub, "kept", 0o644)
	editRecord(t, kept, func(r disk.Inode) { r.SetFlags(r.Flags() | disk.FlagImmutable) })
	wantErrno(t, "remove all", f.RemoveAll("top"), syscall.EPERM)
	var left []string
	err = fs.WalkDir(f, "top", func(path string, _ fs.DirEntry, err error) error {
		left = append(left, path)
		return err
	})
	if got := strings.Join(left, " "); err != nil || got != "top top/sub top/sub/kept" {
		t.Errorf("left: %s (%v)", got, err)
	}
	editRecord(t, kept, func(r disk.Inode) { r.SetFlags(r.Flags() &^ disk.FlagImmutable) })
	wantErrno(t, "remove all", f.RemoveAll("top/"), 0)
	wantErrno(t, "remove nothing", f.RemoveAll("top"), 0)
	wantErrno(t, "remove the root", f.RemoveAll("/"), syscall.EBUSY)
	wantErrno(t, "remove .", f.RemoveAll("lost+found/."), syscall.EINVAL)
	if now := f.live.alloc.Counts(); now.FreeInodes != free.FreeInodes || now.Dirs != free.Dirs {
		t.Errorf("free: %+v, was %+v", now, free)
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}

func TestBatch(t *testing.T) {
	dev := formatRAM(t, 16<<20, "-b", "1024")
	f, err := Open(dev, &Options{Write: true, CommitInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Mkdir("dir", 0o755); err != nil {
		t.Fatal(err)
	}
	before := dev.Clone()
	for k := range 20 {
		if err := f.WriteFile(fmt.Sprintf("dir/file%d", k), bytes.Repeat([]byte{1}, 700), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	early := dev.Clone()
	if err := b.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(context.Background()); err != nil {
		t.Error(err)
	}
	late := dev.Clone()
	for n, dev := range []interface {
		io.ReaderAt
		io.WriterAt
		Size() int64
		Sync() error
	}{before, early, late} {
		g := openWrite(t, dev)
		list, err := g.ReadDir("dir")
		if n < 2 && !errors.Is(err, syscall.ENOENT) || n == 2 && (err != nil || len(list) != 20) {
			t.Errorf("state %d: %d names, %v", n, len(list), err)
		}
		closeWrite(t, g)
	}
	closeWrite(t, f)
	fsckDevice(t, dev)
}
