package ext4fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
)

// crashWorks are the workloads.
var crashWorks = []*crashWork{
	{name: "ace", run: workAce},
	{name: "fsx", run: workFsx},
	{name: "tree", run: workTree},
	{name: "renames", run: workRenames},
	{name: "full", run: workFull},
	{name: "htree", run: workHtree},
	{name: "fragments", run: workFragments},
	{name: "attrs", run: workAttrs},
	{name: "tmpfile", run: workTmpfile},
	{name: "batch", run: workBatch},
	{name: "reopen", run: workReopen},
	{name: "parallel", run: workParallel},
	{name: "large", run: workLarge, skip: "inline data_journal"},
}

// tolerated are errors that random operations meet, and that leave all as it
// was.
var tolerated = []error{
	syscall.ENOSPC, syscall.EEXIST, syscall.ENOENT, syscall.ENOTEMPTY, syscall.ENOTDIR, syscall.EISDIR, syscall.EINVAL,
	syscall.EOPNOTSUPP, syscall.EPERM, ErrQuota, syscall.E2BIG, syscall.EBUSY, syscall.ELOOP, ErrNoAttr, journal.ErrHeld,
}

// do is op that fails the test for errors which should not be.
func (w *crashWorld) do(what string, run func() error) bool {
	err := w.op(what, run)
	if err != nil && !slices.ContainsFunc(tolerated, func(e error) bool { return errors.Is(err, e) }) {
		w.t.Fatalf("operation %s: %v", w.last(3), err)
	}
	return err == nil
}

// lookup is nil where there is nothing.
func (w *crashWorld) lookup(path string) *Inode {
	i, err := w.f.LookupNoFollow(path)
	if err != nil && !errors.Is(err, ErrNotExist) && !errors.Is(err, ErrNotDir) {
		w.t.Fatalf("lookup %s: %v", path, err)
	}
	if err != nil {
		return nil
	}
	return i
}

func pick[T any](w *crashWorld, list ...T) T { return list[w.rng.IntN(len(list))] }

// length is of content: mostly little.
func (w *crashWorld) length() int {
	most := pick(w, 60, 400, 3000, 3000, 20000)
	if w.kind.small {
		most = pick(w, 40, 200, 400, 3000)
	}
	return 1 + w.rng.IntN(most)
}

func (w *crashWorld) create(path string) {
	w.do("create "+path, func() error {
		file, err := w.f.OpenFile(path, syscall.O_CREAT|syscall.O_EXCL|syscall.O_RDWR, 0o644)
		if err != nil {
			return err
		}
		return file.Close()
	})
}

func (w *crashWorld) write(i *Inode, off int64, n int) {
	w.do(fmt.Sprintf("write inode %d, %d bytes at %d", i.num, n, off), func() error {
		w.wide = true
		p := w.data(n)
		if w.rng.IntN(4) == 0 {
			_, err := i.WriteFrom(context.Background(), bytes.NewReader(p), off, int64(n))
			return err
		}
		_, err := i.WriteAt(p, off)
		return err
	})
}

func (w *crashWorld) truncate(i *Inode, size int64) {
	w.do(fmt.Sprintf("truncate inode %d to %d", i.num, size), func() error {
		w.wide = true
		return i.Truncate(size)
	})
}

func (w *crashWorld) fallocate(i *Inode, mode FallocateMode, off, n int64) {
	w.do(fmt.Sprintf("fallocate inode %d mode %d, %d bytes at %d", i.num, mode, n, off), func() error {
		w.wide = true
		w.shift = mode&(FallocateCollapse|FallocateInsert) != 0
		return i.Fallocate(mode, off, n)
	})
}

func (w *crashWorld) rename(from, to string, flags RenameFlags) {
	w.do(fmt.Sprintf("rename %s %s %d", from, to, flags), func() error { return w.f.RenameWith(from, to, flags) })
}

func (w *crashWorld) remove(path string) {
	w.do("remove "+path, func() error { return w.f.Remove(path) })
}

func (w *crashWorld) link(from, to string) {
	w.do("link "+from+" "+to, func() error { return w.f.Link(from, to) })
}

func (w *crashWorld) mkdir(path string) {
	w.do("mkdir "+path, func() error { return w.f.Mkdir(path, 0o755) })
}

// content changes the content of a file at random.
func (w *crashWorld) content(i *Inode, most int64) {
	size := i.Size()
	off := w.rng.Int64N(max(size+size/4, 1) + 1)
	n := w.length()
	bs := int64(w.f.BlockSize())
	c := int64(w.f.super.ClusterSize())
	switch w.rng.IntN(13) {
	case 0, 1, 2:
		w.write(i, min(off, most), n)
	case 3, 4:
		if size < most {
			w.write(i, size, n)
		}
	case 5:
		w.truncate(i, off)
	case 6:
		w.truncate(i, off/bs*bs)
	case 7:
		w.fallocate(i, FallocatePunch|FallocateKeepSize, off, int64(n))
	case 8:
		w.fallocate(i, FallocateZero|FallocateMode(w.rng.IntN(2)), min(off, most), int64(n))
	case 9:
		w.fallocate(i, FallocateMode(w.rng.IntN(2)), min(off, most), int64(n))
	case 10:
		w.fallocate(i, FallocateCollapse, off/c*c, (int64(n)+c-1)/c*c)
	case 11:
		if size < most {
			w.fallocate(i, FallocateInsert, off/c*c, (int64(n)+c-1)/c*c)
		}
	case 12:
		w.direct(i, min(off, most)/bs*bs, (int64(n)+bs-1)/bs*bs)
	}
}

// direct writes past the file system, as the kernel does with iomap.
func (w *crashWorld) direct(i *Inode, off, n int64) {
	if w.kind.external > 0 {
		return
	}
	bs := int64(w.f.BlockSize())
	w.do(fmt.Sprintf("map and write inode %d, %d bytes at %d", i.num, n, off), func() error {
		w.wide = true
		runs, err := i.MapForWrite(off, n)
		if err != nil {
			return err
		}
		if !w.inner && w.rng.IntN(2) == 0 { // in a batch it would wait for itself
			if err := w.f.Sync(context.Background()); err != nil {
				return err
			}
		}
		p := w.data(int(n))
		for _, e := range runs {
			at, k := int64(e.Logical)*bs-off, int64(e.Len)*bs
			if _, err := w.f.live.dev.WriteAt(p[at:at+k], int64(e.Physical)*bs); err != nil {
				return err
			}
		}
		return i.EndWrite(off, n)
	})
}

// journalData switches the journaling of the file's content on or off.
func (w *crashWorld) journalData(i *Inode) {
	w.do(fmt.Sprintf("chattr j of inode %d", i.num), func() error { return i.SetFlags(i.Flags() ^ disk.FlagJournalData) })
}

// maySync makes something durable now and then.
func (w *crashWorld) maySync(rarely int, path string) {
	switch w.rng.IntN(rarely) {
	case 0:
		w.sync()
	case 1, 2:
		if i := w.lookup(path); i != nil {
			w.fsync(i)
		}
	}
}

// workAce makes short sequences of operations on few names, each followed by
// one that makes something durable.
func workAce(w *crashWorld) {
	w.mkdir("A")
	w.mkdir("B")
	names := []string{"foo", "bar", "A/foo", "A/bar", "B/foo", "B/bar", "A/C", "A/C/foo"}
	for range 22 {
		for range 1 + w.rng.IntN(3) {
			w.aceStep(names)
		}
		w.maySync(4, pick(w, append(names, "A", "B", ".")...))
	}
}

func (w *crashWorld) aceStep(names []string) {
	p, q := pick(w, names...), pick(w, names...)
	i := w.lookup(p)
	switch r := w.rng.IntN(12); {
	case i == nil && r < 8:
		if strings.HasSuffix(p, "C") {
			w.mkdir(p)
		} else {
			w.create(p)
			if i = w.lookup(p); i != nil && w.rng.IntN(2) == 0 {
				w.write(i, 0, w.length())
			}
		}
	case r < 2:
		w.rename(p, q, pick(w, RenameFlags(0), 0, 0, RenameExchange, RenameNoReplace, RenameWhiteout))
	case r < 3:
		w.link(p, q)
	case r < 4:
		w.remove(p)
	case r < 5:
		w.do("symlink "+q, func() error { return w.f.Symlink(strings.Repeat("x/", w.rng.IntN(100))+"t", q) })
	case r < 7 && i != nil:
		w.attr(i)
	case i != nil && i.IsRegular():
		w.content(i, 40000)
	}
}

// workFsx changes a single file.
func workFsx(w *crashWorld) {
	w.create("file")
	i := w.lookup("file")
	w.fsync(i)
	most := int64(60000)
	if w.kind.small {
		most = 2500
	}
	for range 60 {
		if w.rng.IntN(20) == 0 {
			w.journalData(i)
		}
		w.content(i, most)
		if w.rng.IntN(4) == 0 {
			w.fsync(i)
		}
	}
}

// workTree copies a tree.
func workTree(w *crashWorld) {
	dirs := []string{"tree"}
	w.mkdir("tree")
	var files []string
	for n := range 70 {
		d := pick(w, dirs...)
		path := fmt.Sprintf("%s/%c%d", d, 'a'+w.rng.IntN(26), n)
		switch r := w.rng.IntN(20); {
		case r < 3:
			w.mkdir(path)
			dirs = append(dirs, path)
		case r < 4:
			w.do("symlink "+path, func() error { return w.f.Symlink(strings.Repeat("t", 1+w.rng.IntN(150)), path) })
		case r < 5 && len(files) > 0:
			w.link(pick(w, files...), path)
		case r < 6:
			w.do("mknod "+path, func() error { return w.f.Mknod(path, pick(w, fs.ModeDevice|fs.ModeCharDevice, fs.ModeNamedPipe), 1, 3) })
		default:
			w.copyFile(path)
			files = append(files, path)
		}
		if i := w.lookup(path); i != nil && w.rng.IntN(2) == 0 {
			w.do("attributes of "+path, func() error {
				return i.SetAttr(&SetAttr{Valid: AttrUID | AttrGID | AttrMtime | AttrAtime, UID: w.rng.Uint32N(3) * 40000, GID: 7,
					Mtime: time.Unix(int64(n), 5), Atime: time.Unix(9, 9)})
			})
		}
		w.maySync(25, path)
	}
	w.sync()
}

// copyFile makes a file with its content at once.
func (w *crashWorld) copyFile(path string) {
	p := w.data(w.length())
	w.do(fmt.Sprintf("write file %s, %d bytes", path, len(p)), func() error { return w.f.WriteFile(path, p, 0o640) })
}

// workRenames renames few names over each other, files and directories.
func workRenames(w *crashWorld) {
	var names []string
	for _, d := range []string{"x", "y", "x/z"} {
		w.mkdir(d)
		for n := range 4 {
			names = append(names, fmt.Sprintf("%s/%s%d", d, strings.Repeat("n", 1+n*60), n))
		}
	}
	for n, name := range names {
		if n%4 == 3 {
			w.mkdir(name)
		} else if n%4 != 2 {
			w.copyFile(name)
		}
	}
	w.sync()
	for range 70 {
		p := pick(w, names...)
		w.rename(p, pick(w, names...), pick(w, RenameFlags(0), 0, 0, RenameExchange, RenameNoReplace, RenameWhiteout))
		if w.rng.IntN(5) == 0 && w.lookup(p) == nil {
			w.copyFile(p)
		}
		if w.rng.IntN(12) == 0 {
			w.remove(pick(w, names...))
		}
		w.maySync(12, pick(w, "x", "y", "x/z", names[0]))
	}
}

// workFull fills the disk, and goes on on the full disk.
func workFull(w *crashWorld) {
	w.create("big")
	big := w.lookup("big")
	end := int64(0)
	for range 60 {
		free := int64(w.f.live.alloc.Counts().FreeBlocks) * int64(w.f.BlockSize())
		n := max(min(free/2, 1<<20), 3000)
		w.fallocate(big, FallocateKeepSize, end, n)
		if end += n; free == 0 || w.f.live.alloc.Counts().FreeBlocks == uint64(free)/uint64(w.f.BlockSize()) {
			break
		}
	}
	w.sync()
	for n := range 30 {
		path := fmt.Sprintf("f%d", n%9)
		switch i := w.lookup(path); {
		case i == nil:
			w.copyFile(path)
		case w.rng.IntN(3) == 0:
			w.remove(path)
		case w.rng.IntN(4) == 0:
			w.do("xattr of "+path, func() error { return i.SetXattr("user.a", w.data(300+w.rng.IntN(500)), 0) })
		default:
			w.content(i, 60000)
		}
		if w.rng.IntN(8) == 0 {
			w.fallocate(big, FallocatePunch|FallocateKeepSize, w.rng.Int64N(end), 1+w.rng.Int64N(40000))
		}
		if w.rng.IntN(8) == 0 {
			w.mkdir(fmt.Sprintf("d%d", n))
		}
		w.maySync(8, path)
	}
}

// workHtree makes a directory grow an index and shrink.
func workHtree(w *crashWorld) {
	w.mkdir("d")
	name := func(n int) string {
		return fmt.Sprintf("d/%0*d", 40+n%7*30, n)
	}
	for n := range 150 {
		switch {
		case n%3 > 0 || n < 2:
			w.do("mknod", func() error { return w.f.Mknod(name(n), fs.ModeNamedPipe, 0, 0) })
		default:
			w.link(name(1), name(n))
		}
		if w.rng.IntN(4) == 0 {
			w.remove(name(w.rng.IntN(n + 1)))
		}
		if w.rng.IntN(6) == 0 {
			w.rename(name(w.rng.IntN(n+1)), name(1000+n), 0)
		}
		w.maySync(20, "d")
	}
}

// workFragments makes fragmented files and cuts them.
func workFragments(w *crashWorld) {
	bs := int64(w.f.super.ClusterSize())
	var files []*Inode
	for n := range 3 {
		path := fmt.Sprintf("f%d", n)
		w.create(path)
		files = append(files, w.lookup(path))
	}
	for k := range int64(45) {
		w.write(pick(w, files...), k*2*bs+w.rng.Int64N(bs), 1+w.rng.IntN(int(bs)))
	}
	w.sync()
	for range 25 {
		i := pick(w, files...)
		if w.rng.IntN(12) == 0 {
			w.journalData(i)
		}
		off := w.rng.Int64N(i.Size() + bs)
		switch w.rng.IntN(5) {
		case 0, 1:
			w.truncate(i, off)
		case 2:
			w.fallocate(i, FallocatePunch|FallocateKeepSize, off, 1+w.rng.Int64N(20*bs))
		case 3:
			w.write(i, off+bs*w.rng.Int64N(40), 1+w.rng.IntN(int(2*bs)))
		case 4:
			w.fallocate(i, 0, off, 1+w.rng.Int64N(10*bs))
		}
		if w.rng.IntN(3) == 0 {
			w.fsync(i)
		}
	}
	w.remove("f1")
	w.truncate(files[0], 0)
}

// attr changes an attribute.
func (w *crashWorld) attr(i *Inode) {
	key := pick(w, "user.a", "user.bc", "trusted.long_name_of_an_attribute", "security.e")
	value := w.data(pick(w, 0, 3, 33, 100, 300, 700, 950, 2000, 3900, 9000))
	if w.rng.IntN(2) == 0 {
		value = []byte(strings.Repeat("shared", 90)) // by many inodes
	}
	switch w.rng.IntN(9) {
	case 0, 1, 2, 3:
		w.do(fmt.Sprintf("set %s of inode %d, %d bytes", key, i.num, len(value)), func() error { return i.SetXattr(key, value, 0) })
	case 4, 5:
		w.do(fmt.Sprintf("remove %s of inode %d", key, i.num), func() error { return i.RemoveXattr(key) })
	case 6:
		w.do(fmt.Sprintf("chown inode %d", i.num), func() error {
			return i.SetAttr(&SetAttr{Valid: AttrUID | AttrGID, UID: w.rng.Uint32N(6) * 20000, GID: w.rng.Uint32N(4)})
		})
	case 7:
		w.do(fmt.Sprintf("project of inode %d", i.num), func() error {
			return i.SetAttr(&SetAttr{Valid: AttrProject, Project: w.rng.Uint32N(4)})
		})
	case 8:
		w.do(fmt.Sprintf("ACL of inode %d", i.num), func() error {
			return i.SetXattr("system.posix_acl_access", disk.EncodeCallACL([]disk.ACLEntry{
				{Tag: disk.ACLUserObj, Perm: uint16(w.rng.IntN(8)), ID: disk.ACLNoID},
				{Tag: disk.ACLUser, Perm: 7, ID: w.rng.Uint32N(3)},
				{Tag: disk.ACLGroupObj, Perm: 5, ID: disk.ACLNoID},
				{Tag: disk.ACLMask, Perm: uint16(w.rng.IntN(8)), ID: disk.ACLNoID},
				{Tag: disk.ACLOther, Perm: uint16(w.rng.IntN(8)), ID: disk.ACLNoID},
			}), 0)
		})
	}
}

// workAttrs changes attributes, owners and projects, of files that come and go.
func workAttrs(w *crashWorld) {
	for range 90 {
		path := fmt.Sprintf("f%d", w.rng.IntN(7))
		switch i := w.lookup(path); {
		case i == nil && w.rng.IntN(4) == 0:
			w.mkdir(path)
		case i == nil:
			w.copyFile(path)
		case w.rng.IntN(12) == 0:
			w.remove(path)
		default:
			w.attr(i)
		}
		w.maySync(12, path)
	}
}

// workTmpfile makes files without a name and gives them one, and works on files
// that have lost theirs.
func workTmpfile(w *crashWorld) {
	root, err := w.f.Root()
	if err != nil {
		w.t.Fatal(err)
	}
	for n := range 45 {
		path := fmt.Sprintf("f%d", w.rng.IntN(5))
		switch w.rng.IntN(6) {
		case 0, 1:
			w.replace(root, path)
		case 2:
			if i := w.lookup(path); i != nil && i.IsRegular() && i.Acquire() {
				w.unnamed = append(w.unnamed, i)
				w.remove(path)
			}
		case 3:
			if len(w.unnamed) > 0 {
				i := pick(w, w.unnamed...)
				if i.Stat().Links == 0 {
					w.content(i, 40000)
				}
			}
		case 4:
			if len(w.unnamed) > 0 {
				k := w.rng.IntN(len(w.unnamed))
				i := w.unnamed[k]
				w.unnamed = slices.Delete(w.unnamed, k, k+1)
				w.do(fmt.Sprintf("release inode %d", i.num), i.Release)
			}
		case 5:
			if w.lookup(path) == nil {
				w.copyFile(path)
			}
		}
		if n%7 == 0 {
			w.mkdir(fmt.Sprintf("d%d", n))
		}
		w.maySync(9, path)
	}
}

// replace puts a new file in the place of another.
func (w *crashWorld) replace(dir *Inode, path string) {
	var i *Inode
	ok := w.do("tmpfile", func() (err error) {
		i, err = dir.Tmpfile(&NewNode{Mode: disk.ModeRegular | 0o600})
		return err
	})
	if !ok {
		return
	}
	w.write(i, 0, w.length())
	switch w.rng.IntN(4) {
	case 0: // stays without a name
	case 1:
		w.do("link "+path, func() error { return dir.Link(path, i) })
	default:
		if w.rng.IntN(2) == 0 {
			w.fsync(i)
		}
		w.do("replace "+path, func() error { return dir.LinkReplace(path, i) })
	}
	w.do(fmt.Sprintf("release inode %d", i.num), i.Release)
}

// workBatch makes groups of changes that come as a whole.
func workBatch(w *crashWorld) {
	names := []string{"foo", "bar", "A", "A/foo", "A/bar", "B", "B/foo"}
	w.mkdir("A")
	w.mkdir("B")
	for range 14 {
		b, err := w.f.Begin(context.Background())
		if err != nil {
			w.t.Fatal(err)
		}
		w.inner = true
		for range 2 + w.rng.IntN(6) {
			w.aceStep(names)
		}
		w.inner = false
		w.do("last of the batch", func() error { return w.f.Mknod(fmt.Sprintf("A/n%d", w.now()), fs.ModeNamedPipe, 0, 0) })
		if err := b.Commit(context.Background()); err != nil {
			w.t.Fatal(err)
		}
		w.synced(w.now())
		w.aceStep(names)
		w.maySync(5, pick(w, names...))
	}
}

// workReopen closes and opens again and again.
func workReopen(w *crashWorld) {
	names := []string{"foo", "bar", "A", "A/foo", "A/bar"}
	w.mkdir("A")
	for range 8 {
		for range w.rng.IntN(4) {
			w.aceStep(names)
		}
		if w.rng.IntN(3) == 0 {
			w.do("label", func() error { return w.f.SetLabel(fmt.Sprint(w.now())) })
		}
		w.maySync(4, pick(w, names...))
		if err := w.f.Close(); err != nil {
			w.t.Fatal(err)
		}
		w.synced(w.now())
		var err error
		if w.f, err = w.kind.open(w.rec, w.clock, true); err != nil {
			w.t.Fatal(err)
		}
	}
}

// workLarge writes files in several transactions each.
func workLarge(w *crashWorld) {
	for n := range 4 {
		path := fmt.Sprintf("f%d", n%3)
		if w.lookup(path) == nil {
			w.create(path)
		}
		i := w.lookup(path)
		off := w.rng.Int64N(i.Size() + 5000)
		size := 200_000 + w.rng.IntN(1_500_000)
		expect := pick(w, int64(size), -1)
		p := w.data(size)
		w.do(fmt.Sprintf("copy %d bytes to %d of inode %d, known %v", size, off, i.num, expect > 0), func() error {
			w.wide = true
			_, err := i.WriteFrom(context.Background(), &commitsInBetween{w, p}, off, expect)
			return err
		})
		if w.rng.IntN(2) == 0 {
			w.truncate(i, w.rng.Int64N(i.Size()+1))
		}
		w.maySync(4, path)
	}
}

// commitsInBetween is a source of data whose reader's transaction is committed
// now and then.
type commitsInBetween struct {
	w *crashWorld
	p []byte
}

func (c *commitsInBetween) Read(p []byte) (int, error) {
	if len(c.p) == 0 {
		return 0, io.EOF
	}
	if c.w.rng.IntN(2) == 0 {
		if err := c.w.f.Sync(context.Background()); err != nil {
			return 0, err
		}
	}
	n := copy(p[:min(len(p), 300_000)], c.p)
	c.p = c.p[n:]
	return n, nil
}

// workParallel works in several directories at the same time.
func workParallel(w *crashWorld) {
	var wg sync.WaitGroup
	for k, part := range w.split(3) {
		top := fmt.Sprintf("p%d/", k)
		names := []string{top + "foo", top + "bar", top + "A", top + "A/foo", top + "A/bar", top + "C", top + "C/foo"}
		wg.Go(func() {
			part.mkdir(top + "A")
			for range 40 {
				part.aceStep(names)
				part.maySync(6, pick(part, names...))
			}
		})
	}
	wg.Wait()
}
