package testimages

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fillDemo makes the tree of the demo image: what a small system has.
func fillDemo(dir string) error {
	f := &filler{top: dir, o: Fill{}.withDefaults()}
	f.demoFiles()
	f.demoLinks()
	f.demoData()
	f.demoAttributes()
	f.demoTimes()
	return f.err
}

// text writes a file of n bytes of prose.
func (f *filler) text(name string, mode os.FileMode, n int) {
	f.mkdir(filepath.Dir(name))
	f.seed++
	if f.err == nil {
		f.fail(name, os.WriteFile(f.path(name), prose(f.seed, n), mode))
	}
}

func (f *filler) demoFiles() {
	for i, name := range []string{"sh", "ls", "cp", "gzip", "ping", "awk"} {
		f.text("usr/bin/"+name, 0o755, 9000+i*4321)
	}
	for i, name := range []string{"ext4.h", "jbd2.h", "xattr.h", "sys/stat.h", "sys/types.h"} {
		f.text("usr/include/"+name, 0o644, 700+i*611)
	}
	for i, name := range []string{"main.go", "extent.go", "htree.go", "internal/crc/crc32c.go", "internal/crc/crc32c_test.go", "README.md"} {
		f.text("usr/src/reader/"+name, 0o644, 1500+i*1999)
	}
	f.text("etc/passwd", 0o644, 300)
	f.text("etc/shadow", 0o640, 200)
	f.text("etc/fstab", 0o644, 120)
	f.text("home/ada/notes/Überblick.txt", 0o600, 2500)
	f.text("home/ada/empty", 0o644, 0)
	f.mkdir("tmp")
	// Enough names for an indexed directory.
	for i := range 260 {
		f.text(fmt.Sprintf("usr/share/words/%s-%s-%03d", demoWords[i%len(demoWords)], demoWords[i*7%len(demoWords)], i), 0o644, 20+i%50)
	}
	if f.err == nil {
		f.fail("tmp", unix.Chmod(f.path("tmp"), 0o1777))
		f.fail("home/ada", filepath.WalkDir(f.path("home/ada"), func(p string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(p, 1000, 1000)
		}))
		f.fail("etc/shadow", os.Lchown(f.path("etc/shadow"), 0, 42))
	}
}

func (f *filler) demoLinks() {
	f.link("usr/bin/gzip", "usr/bin/gunzip")
	f.link("usr/bin/gzip", "usr/bin/zcat")
	f.symlink("usr/bin", "bin")
	f.symlink("../bin/sh", "usr/src/shell")
	f.symlink("/usr/share/words/"+strings.Repeat("a-long-way/", 8)+"round", "usr/src/long")
	f.mkdir("dev")
	if f.err == nil {
		f.fail("dev/null", unix.Mknod(f.path("dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		f.fail("dev/sda", unix.Mknod(f.path("dev/sda"), unix.S_IFBLK|0o660, int(unix.Mkdev(8, 0))))
		f.fail("dev/log", unix.Mkfifo(f.path("dev/log"), 0o622))
	}
}

// demoData makes the files whose extents are worth a look.
func (f *filler) demoData() {
	f.mkdir("var/lib")
	f.mkdir("var/log")
	bs := f.o.BlockSize
	// A disk image with data here and there.
	f.with("var/lib/disk.img", func(h *os.File) error {
		for i, off := range []int64{0, 1 << 20, 5<<20 + 8192, 40 << 20} {
			if _, err := h.WriteAt(prose(uint64(500+i), 10_000), off); err != nil {
				return err
			}
		}
		return h.Truncate(48 << 20)
	})
	// A log that grew while another did: each lies between pieces of the other.
	f.with("var/log/messages", func(a *os.File) error {
		b, err := os.Create(f.path("var/log/debug"))
		if err != nil {
			return err
		}
		defer b.Close()
		for i := range int64(40) {
			if _, err := a.WriteAt(prose(uint64(600+i), int(bs)), i*bs); err != nil {
				return err
			}
			if _, err := b.WriteAt(prose(uint64(700+i), int(bs)), i*bs); err != nil {
				return err
			}
		}
		return nil
	})
	// Room set aside, some of it written.
	f.with("var/lib/journal.db", func(h *os.File) error {
		if err := unix.Fallocate(int(h.Fd()), 0, 0, 64*bs); err != nil {
			return err
		}
		_, err := h.WriteAt(prose(800, int(5*bs)), 16*bs)
		return err
	})
}

func (f *filler) demoAttributes() {
	f.setXattr("usr/bin/ping", "security.capability", fileCapability(1<<13))
	f.setXattr("home/ada/notes/Überblick.txt", "user.mime_type", []byte("text/plain; charset=utf-8"))
	f.mkdir("srv/shared")
	shared := []aclEntry{{aclUserObj, 7, noID}, {aclUser, 7, 1000}, {aclGroupObj, 5, noID}, {aclGroup, 5, 100}, {aclMask, 7, noID}, {aclOther, 0, noID}}
	f.setXattr("srv/shared", "system.posix_acl_access", encodeACL(shared))
	f.setXattr("srv/shared", "system.posix_acl_default", encodeACL(shared))
	f.text("srv/shared/plan.txt", 0o664, 1234)
}

// demoTimes gives every name a time of its own, folders last.
func (f *filler) demoTimes() {
	if f.err != nil {
		return
	}
	var paths []string
	f.fail("/", filepath.WalkDir(f.top, func(p string, _ fs.DirEntry, err error) error {
		paths = append(paths, p)
		return err
	}))
	slices.Reverse(paths)
	for i, p := range paths {
		t := time.Unix(1_767_225_600+int64(i)*3701, int64(i)*1_234_567%1e9) // from 2026-01-01
		f.fail(p, setTimes(p, t, t))
	}
}
