package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/testimages"
	"github.com/e4kit/e4kit/testimages/imagetree"
)

// The mkfs jobs make images. The kernel's way is mke2fs, a loop mount, cp or
// tar, syncfs and umount; mke2fs -d is measured beside it, and tar2ext4 where
// it is installed. Sources and images lie on the tmpfs, but for the jobs that
// say disk: there both lie on the local disk, sources cached. Empty ones are
// made in both: a tmpfs has no fallocate that zeroes, which is what mke2fs makes
// a journal with.

// mkfsScale are the sizes of the mkfs jobs.
type mkfsScale struct {
	tree    scale  // see hostTree
	treeFS  string // size of the file system that takes the tree
	small   int    // small files
	smallFS string
	names   []int // in one directory
	namesFS string
	large   int64 // bytes of each of the four large files
	largeFS string
	million int
}

var (
	fullMkfs = mkfsScale{
		tree: fullScale, treeFS: "2G", small: 100_000, smallFS: "2G", names: []int{20_000, 200_000}, namesFS: "4G",
		large: 1 << 30, largeFS: "5G", million: 1_000_000,
	}
	smallMkfs = mkfsScale{
		tree: smallScale, treeFS: "512M", small: 3000, smallFS: "512M", names: []int{2000, 8000}, namesFS: "512M",
		large: 16 << 20, largeFS: "512M", million: 20_000,
	}
)

// slowNames is how many names in one directory mke2fs -d is spared: the time
// it takes grows with their square.
const slowNames = 50_000

// Bounds of the jobs that make empty file systems, and of memory, of which the
// names of a million files take most. Beside so many writes there is one for each
// 2 GiB: the bitmap of the group that holds the tables of its flex group.
const (
	emptyAllocated = 20 << 20
	emptyWrites    = 30
	mkfsMemory     = 300 << 20
)

// mkfsJobs are the rows about making images. slow adds what takes minutes.
func mkfsJobs(s mkfsScale, slow bool) []*job {
	list := []*job{
		mkfsDir("mkfs-tree", "make an image of a tree", 0.3, s.treeFS, hostTree(s.tree), true, "source-tree"),
		mkfsTar("mkfs-tree-tar", "make an image of a tree in a tar", 0.3, s.treeFS, hostTar(s.tree), "source-tree", "source.tar"),
		mkfsDir("mkfs-small", fmt.Sprintf("make an image of %d small files", s.small), 0.25, s.smallFS, smallDir(s.small), true, "source-small"),
		mkfsTar("mkfs-small-tar", fmt.Sprintf("make an image of %d small files in a tar", s.small), 0.3, s.smallFS, smallTar(s.small), "source-small", "small.tar"),
	}
	for _, n := range s.names {
		name := fmt.Sprintf("names-%d", n)
		list = append(list, mkfsDir("mkfs-"+name, fmt.Sprintf("make an image of %d names in one directory", n), 0.4,
			s.namesFS, namesDir(name, n), slow || n < slowNames, name))
	}
	large := mkfsDir("mkfs-files", fmt.Sprintf("make an image of 4 files of %d MiB, disk", s.large>>20), 0.7, s.largeFS, largeDir(s.large), true)
	large.onDisk = true
	list = append(list, large)
	for _, size := range []int{64, 1024} {
		list = append(list, mkfsEmpty(size, true), mkfsEmpty(size, false))
	}
	if slow {
		list = append(list, mkfsTar("mkfs-million", fmt.Sprintf("make an image of %d files in a tar", s.million), 0.3, "20G", millionTar(s.million), "million.tar"))
	}
	return list
}

// mkfsJob is a job that makes an image of a file system of the given size.
func mkfsJob(name, what string, goal float64, size string, source func(*bench, string) (string, error), drop []string, fill command) *job {
	done := map[string]bool{}
	facts := func(p place) (string, error) { return builtFacts(p, done) }
	return &job{
		name: name, what: what, goal: goal, prepare: source, drop: drop, onTmpfs: true, memory: mkfsMemory,
		target:  func(_ *bench, p place) error { return os.RemoveAll(p.img) },
		figures: func(_ *bench, p place, _ side) (figures, error) { return allocated(p.img) },
		same:    sameBuilt,
		peer: side{name: "mke2fs, mount, " + fill.argv[0] + ", umount", facts: facts, checks: true, commands: func(_ *bench, p place) []command {
			work := fill
			work.argv = substitute(fill.argv, p)
			return []command{
				{argv: []string{"mke2fs", "-q", "-F", "-t", "ext4", p.img, size}},
				{argv: []string{"mount", "-t", "ext4", "-o", "loop", p.img, p.mnt}},
				work,
				{argv: []string{"sync", "-f", p.mnt}},
				{argv: []string{"umount", p.mnt}, always: true},
			}
		}},
		ours: side{name: "e4kit mkfs", facts: facts, checks: true, commands: func(b *bench, p place) []command {
			return []command{{argv: []string{b.e4kit, "mkfs", "-q", "-t", "ext4", "--from", p.aux, p.img, size}, out: p.out}}
		}},
	}
}

// substitute puts the places into a command: SRC and MNT stand for them.
func substitute(argv []string, p place) []string {
	out := slices.Clone(argv)
	for i, a := range out {
		out[i] = strings.NewReplacer("SRC", p.aux, "MNT", p.mnt).Replace(a)
	}
	return out
}

func mkfsDir(name, what string, goal float64, size string, source func(*bench, string) (string, error), peer bool, drop ...string) *job {
	j := mkfsJob(name, what, goal, size, source, drop, command{argv: []string{"cp", "-a", "SRC/.", "MNT"}})
	if peer {
		j.others = append(j.others, side{name: "mke2fs -d", facts: imageFacts, commands: func(_ *bench, p place) []command {
			return []command{{argv: []string{"mke2fs", "-q", "-F", "-t", "ext4", "-d", p.aux, p.img, size}, out: p.out}}
		}})
	}
	return j
}

func mkfsTar(name, what string, goal float64, size string, source func(*bench, string) (string, error), drop ...string) *job {
	j := mkfsJob(name, what, goal, size, source, drop, command{argv: []string{"tar", "-x", "-p", "--xattrs", "--xattrs-include=*",
		"--acls", "--numeric-owner", "-f", "SRC", "-C", "MNT"}})
	if commandExists("tar2ext4") {
		// Its images are not clean to e2fsck, so only its time is taken.
		j.others = append(j.others, side{name: "tar2ext4", facts: noFacts, commands: func(_ *bench, p place) []command {
			return []command{{argv: []string{"tar2ext4", "-i", p.aux, "-o", p.img}, out: p.out}}
		}})
	}
	return j
}

// mkfsEmpty compares with mke2fs alone. The size is in GiB.
func mkfsEmpty(gib int, tmpfs bool) *job {
	size := strconv.Itoa(gib) + "G"
	name, where := "mkfs-empty-"+strings.ToLower(size), "disk"
	if tmpfs {
		name, where = name+"-tmpfs", "tmpfs"
	}
	mkfs := func(argv ...string) func(b *bench, p place) []command {
		return func(b *bench, p place) []command {
			if len(argv) == 0 {
				return []command{{argv: []string{b.e4kit, "mkfs", "-q", "-t", "ext4", p.img, size}, out: p.out}}
			}
			return []command{{argv: append(slices.Clone(argv), p.img, size), out: p.out}}
		}
	}
	return &job{
		name: name, what: "make an empty file system of " + size + "iB, sparse, " + where, goal: 0.5, instant: true, onTmpfs: tmpfs,
		target: func(_ *bench, p place) error { return os.RemoveAll(p.img) },
		figures: func(b *bench, p place, s side) (figures, error) {
			return writesAndAllocated(b, p, s, emptyWrites+gib/2)
		},
		peer: side{name: "mke2fs", facts: emptyFacts, checks: true, commands: mkfs("mke2fs", "-q", "-F", "-t", "ext4")},
		ours: side{name: "e4kit mkfs", facts: emptyFacts, checks: true, commands: mkfs()},
	}
}

func commandExists(name string) bool {
	return command1(context.Background(), "sh", "-c", "command -v "+name) == nil
}

// figures are what a job tells of an image beside times.
type figures struct {
	Allocated int64 `json:"allocated_bytes"`
	Writes    int   `json:"writes,omitempty"` // system calls; 0 if strace is not there
}

func (f figures) String() string {
	s := fmt.Sprintf("%d MiB allocated", f.Allocated>>20)
	if f.Writes > 0 {
		s += fmt.Sprintf(", %d writes", f.Writes)
	}
	return s
}

// allocated tells what the image takes of the host's disk.
func allocated(img string) (figures, error) {
	var st unix.Stat_t
	if err := unix.Stat(img, &st); err != nil {
		return figures{}, &fs.PathError{Op: "stat", Path: img, Err: err}
	}
	return figures{Allocated: st.Blocks * 512}, nil
}

// writeCall is a line of strace about a write to a file of the program's own.
// Other programs' messages and wake-ups are shorter than a sector.
var writeCall = regexp.MustCompile(`\bp?writev?2?(?:64)?\((?:[3-9]|\d\d+),.* = (\d+)$`)

// writesAndAllocated runs the side once more under strace to count its writes,
// and says so when e4kit needs more than most.
func writesAndAllocated(b *bench, p place, s side, most int) (figures, error) {
	f, err := allocated(p.img)
	if err != nil || !commandExists("strace") {
		return f, err
	}
	if err := os.Remove(p.img); err != nil {
		return f, err
	}
	log := p.dest + ".strace"
	argv := []string{"strace", "-f", "-qq", "-o", log, "-e", "trace=write,pwrite64,writev,pwritev,pwritev2"}
	if err := command1(b.ctx, append(argv, s.commands(b, p)[0].argv...)...); err != nil {
		return f, err
	}
	err = lines(place{out: log}, func(line []byte) error {
		m := writeCall.FindSubmatch(line)
		if m == nil {
			return nil
		}
		n, err := strconv.Atoi(string(m[1]))
		if n >= 512 {
			f.Writes++
		}
		return err
	})
	if s.name == "e4kit mkfs" && (f.Allocated > emptyAllocated || f.Writes > most) {
		b.say("  %s is more than %d MiB or %d writes", f, emptyAllocated>>20, most)
	}
	return f, errors.Join(err, os.Remove(log))
}

// emptyFacts judges an empty file system.
func emptyFacts(p place) (string, error) {
	if err := testimages.Check(p.img); err != nil {
		return "", err
	}
	fsys, err := ext4fs.OpenFile(p.img, nil)
	if err != nil {
		return "", err
	}
	defer fsys.Close()
	sb := fsys.Super()
	return fmt.Sprintf("%d blocks, %d inodes, %d free blocks", sb.Blocks(), sb.Inodes(), sb.Free()), nil
}

// builtFacts is imageFacts, and the first time for a side, which is while it
// warms up, the manifest of the image beside it.
func builtFacts(p place, done map[string]bool) (string, error) {
	facts, err := imageFacts(p)
	if err != nil || done[p.dest] {
		return facts, err
	}
	done[p.dest] = true
	m, err := imagetree.Manifest(context.Background(), p.img)
	if err != nil {
		return "", err
	}
	return facts, os.WriteFile(manifestOf(p), []byte(m.String()), 0o600)
}

func manifestOf(p place) string { return filepath.Join(p.dest, "manifest") }

// sameBuilt compares the manifests that builtFacts left.
func sameBuilt(peer, ours place) error {
	var m [2]testimages.Manifest
	for i, p := range []place{peer, ours} {
		text, err := os.ReadFile(manifestOf(p))
		if err != nil {
			return err
		}
		m[i] = testimages.ParseManifest(string(text))
	}
	if diff := testimages.Diff(m[0], m[1]); diff != "" {
		return errors.New("the trees differ:\n" + diff)
	}
	return nil
}

// source makes the file or folder name in the bench's folder unless it is there.
func (b *bench) source(name string, fill func(path string) error) (string, error) {
	path := filepath.Join(b.dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	b.say("making the source %s", name)
	return path, fill(path)
}

// smallDir makes a folder of n files of 0 to 16 KiB, 100 in each folder.
func smallDir(n int) func(*bench, string) (string, error) {
	return func(b *bench, _ string) (string, error) {
		return b.source("source-small", func(dir string) error {
			rng := rand.New(rand.NewPCG(2, 57))
			stock := testimages.Content(2, 1<<20)
			sub := ""
			for i := range n {
				if i%100 == 0 {
					sub = fmt.Sprintf("%s/%04d", dir, i/100)
					if err := os.MkdirAll(sub, 0o755); err != nil {
						return err
					}
				}
				size := rng.IntN(16<<10 + 1)
				from := rng.IntN(len(stock) - size)
				if err := os.WriteFile(fmt.Sprintf("%s/file-%d", sub, i), stock[from:from+size], 0o644); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func smallTar(n int) func(*bench, string) (string, error) {
	return func(b *bench, _ string) (string, error) {
		dir, err := smallDir(n)(b, "")
		if err != nil {
			return "", err
		}
		return b.source("small.tar", func(name string) error {
			return command1(b.ctx, "tar", "-c", "--format=pax", "--numeric-owner", "-f", name, "-C", dir, ".")
		})
	}
}

// namesDir makes a folder with one folder of n empty files.
func namesDir(name string, n int) func(*bench, string) (string, error) {
	return func(b *bench, _ string) (string, error) {
		return b.source(name, func(dir string) error {
			if err := os.MkdirAll(dir+"/names", 0o755); err != nil {
				return err
			}
			for i := range n {
				if err := unix.Mknod(fmt.Sprintf("%s/names/name-%06d", dir, i), unix.S_IFREG|0o644, 0); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// largeName is the folder of large files, on the disk.
const largeName = "mkfs-large"

func largeDir(size int64) func(*bench, string) (string, error) {
	return func(b *bench, _ string) (string, error) {
		work, err := workDir()
		if err != nil {
			return "", err
		}
		dir := filepath.Join(work, largeName)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		piece := testimages.Content(1, 4<<20)
		for i := range 4 {
			if err := writeLarge(fmt.Sprintf("%s/file-%d", dir, i), size, piece, byte(i)); err != nil {
				return "", err
			}
		}
		return dir, nil
	}
}

// writeLarge writes a file and waits for the disk, so that its writing back
// disturbs no round.
func writeLarge(name string, size int64, piece []byte, id byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for at := int64(0); at < size && err == nil; at += int64(len(piece)) {
		piece[0], piece[1] = byte(at>>22), id
		_, err = f.Write(piece[:min(int64(len(piece)), size-at)])
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// millionTar makes an archive of n small files, 1000 in each folder.
func millionTar(n int) func(*bench, string) (string, error) {
	return func(b *bench, _ string) (string, error) {
		return b.source("million.tar", func(name string) error {
			f, err := os.Create(name)
			if err != nil {
				return err
			}
			return errors.Join(writeFolders(f, n), f.Close())
		})
	}
}

// dropSources removes what no later job needs.
func (b *bench) dropSources(j *job, later []*job) error {
	var errs []error
	for _, name := range j.drop {
		if slices.ContainsFunc(later, func(k *job) bool { return slices.Contains(k.drop, name) }) {
			continue
		}
		errs = append(errs, os.RemoveAll(filepath.Join(b.dir, name)))
	}
	if j.onDisk {
		errs = append(errs, dropLarge())
	}
	return errors.Join(errs...)
}

// dropLarge removes the large files from the disk.
func dropLarge() error {
	work, err := workDir()
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(work, largeName))
}
