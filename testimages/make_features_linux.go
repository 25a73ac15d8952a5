package testimages

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// fromFolder fills the image with mke2fs -d, for what the kernel does not
// mount or does not write.
func fromFolder(b *builder) error {
	return b.fromFolder(func(dir string) error {
		o := b.c.fill
		o.Portable = true
		return FillTree(dir, o)
	})
}

// quotaProject makes quota inodes; mke2fs counts before it copies the folder,
// so e2fsck has to count again.
func quotaProject(b *builder) error {
	if err := fromFolder(b); err != nil {
		return err
	}
	const projinherit, extents = 0x20000000, 0x80000
	err := b.debugfsQuiet("sif /owners/1 projid 4000000000", "sif /owners/dir projid 77",
		fmt.Sprintf("sif /owners/dir flags 0x%x", projinherit|extents))
	if err != nil {
		return err
	}
	return b.fsck("-fy")
}

// indexedFolder lets e2fsck index the folders that mke2fs filled.
func indexedFolder(b *builder) error {
	if err := fromFolder(b); err != nil {
		return err
	}
	return b.fsck("-fyD")
}

// fromFolder runs fill in a folder beside the image, makes the image from it
// and keeps the folder's manifest.
func (b *builder) fromFolder(fill func(dir string) error) error {
	src := filepath.Join(b.dir, "source")
	if err := os.Mkdir(src, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(src)
	if err := fill(src); err != nil {
		return err
	}
	if err := wholeSeconds(src); err != nil {
		return err
	}
	var err error
	if b.tree, err = ManifestDir(src); err != nil {
		return err
	}
	b.tree = b.tree.Without("/", "/lost+found")
	return b.mkfs("-d", src)
}

// wholeSeconds cuts the times of a tree, for mke2fs stores no more.
func wholeSeconds(dir string) error {
	return filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		whole := []unix.Timespec{{Sec: st.Atim.Sec}, {Sec: st.Mtim.Sec}}
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, whole, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// changedUUID changes the UUID of a filled image, which leaves the checksum
// seed alone.
func changedUUID(b *builder) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	if err := b.mount(func(dir string) error { return FillTree(dir, b.c.fill) }); err != nil {
		return err
	}
	return b.tune("-U", "11111111-2222-4333-8444-555555555555")
}

// viaNoMMP turns multiple mount protection on after the kernel filled the
// image: with it each mount waits for many seconds.
func viaNoMMP(b *builder) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	if err := b.mount(func(dir string) error { return FillTree(dir, b.c.fill) }); err != nil {
		return err
	}
	return b.tune("-O", "mmp")
}

// externalJournal makes a file system whose journal lies in a second image.
func externalJournal(b *builder) error {
	if err := b.mkfsExternal(); err != nil {
		return err
	}
	return b.mounted(b.img, "", func(dir string) error { return FillTree(dir, b.c.fill) })
}

func (b *builder) mkfsExternal() error {
	journal := JournalOf(b.img)
	if err := MakeFS(journal, 8*mib, "-b", "4096", "-O", "journal_dev", "-U", "e4e4e4e4-ffff-4304-8506-0708090a0b0c"); err != nil {
		return err
	}
	loop, err := attachLoop(journal, false)
	if err != nil {
		return err
	}
	// mke2fs takes a journal on a block device only.
	return errors.Join(b.mkfs("-J", "device="+loop.path), loop.detach())
}

// mountedWithJournal mounts img with its external journal.
func mountedWithJournal(img, journal, opts string, fn func(dir string) error) error {
	loop, err := attachLoop(journal, false)
	if err != nil {
		return err
	}
	err = Mounted(img, strings.TrimPrefix(opts+",journal_path="+loop.path, ","), fn)
	return errors.Join(err, loop.detach())
}

// sharedBlocks points a second file at the blocks of the first.
func sharedBlocks(b *builder) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	err := b.mount(func(dir string) error {
		for _, name := range []string{"first", "second"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
				return err
			}
		}
		return os.WriteFile(filepath.Join(dir, "first"), Content(1, 50_000), 0o644)
	})
	if err != nil {
		return err
	}
	ino, err := b.inode("/first")
	if err != nil {
		return err
	}
	cmds := []string{"feature shared_blocks", "sif second size 50000", fmt.Sprintf("sif second blocks %d", le32(ino, 0x1c))}
	for i := range 15 {
		cmds = append(cmds, fmt.Sprintf("sif second block[%d] %d", i, le32(ino, 0x28+4*i)))
	}
	return b.debugfsQuiet(cmds...)
}

// hugeFile marks a file whose blocks are counted in file system blocks.
func hugeFile(b *builder) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	err := b.mount(func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "huge"), Content(1, 100_000), 0o644)
	})
	if err != nil {
		return err
	}
	ino, err := b.inode("/huge")
	if err != nil {
		return err
	}
	const huge = 0x40000
	return b.debugfsQuiet(fmt.Sprintf("sif huge flags 0x%x", le32(ino, 0x20)|huge),
		fmt.Sprintf("sif huge blocks %d", le32(ino, 0x1c)/8))
}

// inlineTree adds inline files, folders and symlinks at the borders of what
// fits into an inode.
func inlineTree(b *builder) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	err := b.mount(func(dir string) error {
		if err := FillTree(dir, b.c.fill); err != nil {
			return err
		}
		f := &filler{top: dir, o: b.c.fill.withDefaults(), seed: 900}
		f.inline()
		return f.err
	})
	if err != nil {
		return err
	}
	// Symlinks too long for the block array: the kernel reads them inline but
	// makes them with a block.
	return b.debugfs("cd /inline", "symlink symlink-60 "+strings.Repeat("u", 60), "symlink symlink-90 "+strings.Repeat("v", 90))
}

func (f *filler) inline() {
	f.mkdir("inline")
	for n := int64(50); n < 1000; n += 9 {
		f.file(fmt.Sprintf("inline/file%03d", n), n)
	}
	f.pieces("inline/hole", 120, []int64{100}, 10)
	f.file("inline/with-xattr", 60)
	f.setXattr("inline/with-xattr", "user.a", []byte("beside inline data"))
	f.file("inline/squeezed", 70)
	f.setXattr("inline/squeezed", "user.big", Content(9, 80))
	for n := range 14 {
		dir := fmt.Sprintf("inline/dir%02d", n)
		f.mkdir(dir)
		for i := range n {
			f.file(fmt.Sprintf("%s/n%0*d", dir, 1+i%7, i), 0)
		}
	}
	f.mkdir("inline/gaps")
	for i := range 6 {
		f.file(fmt.Sprintf("inline/gaps/g%d", i), 1)
	}
	for _, i := range []int{0, 2, 5} {
		if f.err == nil {
			f.fail("inline/gaps", os.Remove(f.path(fmt.Sprintf("inline/gaps/g%d", i))))
		}
	}
}

// le32 reads a little-endian word.
func le32(b []byte, off int) uint32 {
	return uint32(b[off]) | uint32(b[off+1])<<8 | uint32(b[off+2])<<16 | uint32(b[off+3])<<24
}

// inode reads the raw inode of a path, at the place that debugfs names.
func (b *builder) inode(path string) ([]byte, error) {
	out, err := RunDebugfs(b.img, false, "imap "+path)
	if err != nil {
		return nil, err
	}
	var ino, group, block, offset int64
	text := strings.Join(strings.Fields(out), " ")
	if _, err := fmt.Sscanf(text, "Inode %d is part of block group %d located at block %d, offset 0x%x", &ino, &group, &block, &offset); err != nil {
		return nil, fmt.Errorf("debugfs imap %s says %q: %w", path, text, err)
	}
	sb, err := readSuper(b.img)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(b.img)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw := make([]byte, 128)
	_, err = f.ReadAt(raw, block*int64(1024<<le32(sb, 0x18))+offset)
	return raw, err
}

// debugfsQuiet is debugfs for commands that report what they set.
func (b *builder) debugfsQuiet(commands ...string) error {
	_, err := RunDebugfs(b.img, true, commands...)
	return err
}

// full leaves no inode and no block free.
func full(b *builder) error {
	if err := b.mkfs(); err != nil {
		return err
	}
	return b.mount(func(dir string) error {
		var err error
		for i := 0; err == nil; i++ {
			err = os.WriteFile(fmt.Sprintf("%s/empty%04d", dir, i), nil, 0o644)
		}
		if !errors.Is(err, unix.ENOSPC) {
			return err
		}
		h, err := os.OpenFile(dir+"/empty0000", os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer h.Close()
		for i := uint64(0); err == nil; i++ {
			_, err = h.Write(Content(i, 64<<10))
			if err == nil {
				err = h.Sync()
			}
		}
		if !errors.Is(err, unix.ENOSPC) {
			return err
		}
		return nil
	})
}
