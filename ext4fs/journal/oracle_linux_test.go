package journal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/journal"
	"github.com/e4kit/e4kit/testimages"
)

// crashCase is one way to leave a journal behind.
type crashCase struct {
	name    string
	size    int64
	mkfs    []string
	mount   string
	rounds  int  // operations of the load
	images  int  // images made, besides two
	full    bool // syncs make full commits, not fast ones
	flushed bool // the last transaction is committed before the crash
	wraps   bool // some log must wrap
	revokes bool // some block must be revoked
	kernel  bool // let the kernel replay, not e2fsck
}

var crashCases = []crashCase{
	{name: "4k", size: 64 << 20, rounds: 300},
	{name: "4k_flushed", size: 64 << 20, rounds: 300, flushed: true},
	{name: "1k_wrap", size: 32 << 20, mkfs: []string{"-b", "1024", "-J", "size=1"}, rounds: 1500, images: 3, wraps: true},
	{name: "1k_wrap_nosum", size: 32 << 20, mkfs: []string{"-b", "1024", "-J", "size=1", "-O", "^metadata_csum,^64bit"},
		rounds: 1500, images: 3, wraps: true},
	{name: "nosum_64bit", size: 64 << 20, mkfs: []string{"-O", "^metadata_csum,64bit"}, rounds: 300},
	{name: "v1_sum", size: 64 << 20, mkfs: []string{"-O", "^metadata_csum,^64bit"}, mount: "journal_checksum", rounds: 300},
	{name: "v1_sum_2k", size: 32 << 20, mkfs: []string{"-b", "2048", "-O", "^metadata_csum,64bit"}, mount: "journal_checksum", rounds: 300},
	{name: "async_writeback", size: 64 << 20, mount: "journal_async_commit,data=writeback", rounds: 300},
	{name: "async_v1", size: 64 << 20, mkfs: []string{"-O", "^metadata_csum"}, mount: "journal_async_commit,data=writeback", rounds: 300},
	{name: "ext3_indirect", size: 32 << 20, mkfs: []string{"-t", "ext3", "-b", "1024", "-J", "size=1"},
		rounds: 1500, images: 3, wraps: true, revokes: true},
	{name: "revokes_64bit", size: 32 << 20, mkfs: []string{"-b", "1024", "-J", "size=4"}, rounds: 1500, revokes: true},
	{name: "data_journal", size: 64 << 20, mkfs: []string{"-b", "1024", "-J", "size=8"}, mount: "data=journal", rounds: 400},
	{name: "data_journal_wrap", size: 64 << 20, mkfs: []string{"-b", "1024", "-J", "size=4", "-O", "^metadata_csum"},
		mount: "data=journal", rounds: 1000, images: 3, wraps: true},
	{name: "fast_commit_full", size: 64 << 20, mkfs: []string{"-b", "1024", "-J", "size=1", "-O", "fast_commit"},
		rounds: 1500, images: 3, full: true, wraps: true, kernel: true},
}

var firstSeed = flag.Uint64("first-seed", 0, "seed of the first crash image of each kind")

// load writes, removes and syncs files of a mounted tree. Some content starts
// like a log block, to be escaped when data is journaled.
func (c *crashCase) load(t *testing.T, dir string, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	var live, dirs []string
	for i := range c.rounds {
		var err error
		switch k := rng.IntN(12); {
		case k == 10:
			dirs = append(dirs, fmt.Sprintf("%s/x%d", dir, i))
			err = os.Mkdir(dirs[len(dirs)-1], 0o755)
		case k == 11 && len(dirs) > 3:
			// Its block was logged: now it is revoked.
			err = os.Remove(dirs[0])
			dirs = dirs[1:]
		case k < 5 || len(live) == 0:
			p := fmt.Sprintf("%s/d%d", dir, rng.IntN(8))
			_ = os.Mkdir(p, 0o755)
			p = fmt.Sprintf("%s/f%d", p, i)
			b := testimages.Content(rng.Uint64(), rng.IntN(20000))
			for off := 0; off+4 <= len(b); off += 1024 {
				if rng.IntN(3) == 0 {
					binary.BigEndian.PutUint32(b[off:], disk.JournalMagic)
				}
			}
			err = os.WriteFile(p, b, 0o644)
			live = append(live, p)
		case k < 8:
			n := rng.IntN(len(live))
			err = os.Remove(live[n])
			live = append(live[:n], live[n+1:]...)
		case c.full:
			// An attribute cannot be committed fast.
			p := live[rng.IntN(len(live))]
			err = errors.Join(unix.Setxattr(p, "user.e4kit", []byte(p), 0), syncFile(p))
		default:
			err = syncFile(live[rng.IntN(len(live))])
		}
		if err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
	}
}

func syncFile(p string) error {
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// crashImage is an image with a journal that needs recovery.
type crashImage struct {
	path string
	dev  device.Device
	sb   *disk.Superblock
	log  journal.Log
	runs []journal.Run
}

// crash makes one.
func (c *crashCase) crash(t *testing.T, seed uint64) *crashImage {
	t.Helper()
	img := filepath.Join(testimages.Scratch(t), fmt.Sprintf("%s%d.img", c.name, seed))
	testimages.Mkfs(t, img, c.size, c.mkfs...)
	// Before the crash, since debugfs does not replay.
	runs := journalRuns(t, img)
	testimages.WithMount(t, img, c.mount, func(dir string) {
		c.load(t, dir, seed)
		stop := testimages.Shutdown
		if c.flushed {
			stop = testimages.ShutdownFlushed
		}
		if err := stop(dir); err != nil {
			t.Fatal(err)
		}
	})
	return openCrashed(t, img, runs)
}

func openCrashed(t *testing.T, img string, runs []journal.Run) *crashImage {
	t.Helper()
	ci := &crashImage{path: img, dev: open(t, img), runs: runs}
	ci.sb = superblock(t, ci.dev)
	var err error
	if ci.log, err = journal.NewInternal(ci.dev, ci.sb.BlockSize(), runs); err != nil {
		t.Fatal(err)
	}
	return ci
}

func (ci *crashImage) load(o journal.Options) (*journal.Recovery, error) {
	o.BlockSize, o.FSBlocks = ci.sb.BlockSize(), uint64(ci.dev.Size())/uint64(ci.sb.BlockSize())
	o.NeedsRecovery = ci.sb.Features.Incompat.Has(disk.IncompatRecover)
	return journal.Load(context.Background(), ci.log, o)
}

// owns reports whether a block is part of the journal's file.
func (ci *crashImage) owns(n uint64) bool {
	for _, r := range ci.runs {
		if n >= uint64(r.Physical) && n-uint64(r.Physical) < uint64(r.Len) {
			return true
		}
	}
	return false
}

var runPattern = regexp.MustCompile(`\((\d+)(?:-(\d+))?\):(\d+)`)

// journalRuns asks debugfs where the journal lies.
func journalRuns(t *testing.T, img string) []journal.Run {
	t.Helper()
	var runs []journal.Run
	for _, m := range runPattern.FindAllStringSubmatch(testimages.Debugfs(t, img, "stat <8>"), -1) {
		if m[2] == "" {
			m[2] = m[1]
		}
		from, to, at := number(t, m[1]), number(t, m[2]), number(t, m[3])
		runs = append(runs, journal.Run{Logical: disk.LogicalNum(from), Physical: disk.BlockNum(at), Len: uint32(to - from + 1)})
	}
	return runs
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func superblock(t *testing.T, dev device.Device) *disk.Superblock {
	t.Helper()
	b := make([]byte, disk.SuperblockSize)
	if _, err := dev.ReadAt(b, disk.SuperblockOffset); err != nil {
		t.Fatal(err)
	}
	sb := new(disk.Superblock)
	if err := sb.Decode(b); err != nil {
		t.Fatal(err)
	}
	return sb
}

// open is the image as a device, until the test ends.
func open(t *testing.T, img string) device.Device {
	t.Helper()
	f, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return device.NewReaderAt(f, fi.Size())
}

// recoverBy gives a copy of img with its journal replayed by e2fsck or, with
// kernel, by a mount.
func recoverBy(t *testing.T, img string, kernel bool) device.Device {
	t.Helper()
	to := testimages.Copy(t, img)
	if kernel {
		if err := kernelRecover(t, to); err != nil {
			t.Fatal(err)
		}
		return open(t, to)
	}
	out, err := exec.Command("e2fsck", "-E", "journal_only", "-y", to).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() > 1) {
		t.Fatalf("e2fsck: %v\n%s", err, out)
	}
	return open(t, to)
}

// kernelRecover mounts an image that the kernel itself left behind. The helper
// of testimages asks e2fsck first, which loses transactions of a log that
// wrapped with a fast-commit area and then calls the image damaged.
func kernelRecover(t *testing.T, img string) error {
	t.Helper()
	testimages.RequireTool(t, "mount", "umount")
	dir := testimages.Scratch(t)
	if out, err := exec.Command("mount", "-t", "ext4", "-o", "loop", img, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	testimages.Run(t, "umount", dir)
	return nil
}

func TestLoad_equalsRecovery(t *testing.T) {
	testimages.RequireLoop(t)
	testimages.RequireTool(t, "e2fsck", "debugfs")
	for _, c := range crashCases {
		t.Run(c.name, func(t *testing.T) {
			wrapped, hits := 0, 0
			for seed := range uint64(c.images + 2) {
				rec := checkRecovery(t, &c, c.crash(t, *firstSeed+seed))
				if rec.Head < rec.Superblock.Start {
					wrapped++
				}
				hits += rec.RevokeHits
			}
			if c.wraps && wrapped == 0 {
				t.Error("no log wrapped")
			}
			if c.revokes && hits == 0 {
				t.Error("no block was revoked")
			}
		})
	}
}

// checkRecovery compares the overlay with what another program makes of img.
func checkRecovery(t *testing.T, c *crashCase, img *crashImage) *journal.Recovery {
	t.Helper()
	rec, err := img.load(journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &rec.Superblock
	t.Logf("%v; features %v %v, ring %d to %d, start %d, head %d", rec, s.Compat.Names(), s.Incompat.Names(), s.First, s.Last(), s.Start, rec.Head)
	if !rec.Needed || len(rec.Transactions) == 0 || rec.Blocks() == 0 {
		t.Fatal("nothing to recover")
	}
	checkWalk(t, img.log, img.sb.BlockSize(), rec)
	img.compare(t, rec.Overlay(img.dev), recoverBy(t, img.path, c.kernel))
	return rec
}

// checkWalk wants the raw walk to agree with the recovery.
func checkWalk(t *testing.T, log journal.Log, bs int, rec *journal.Recovery) {
	t.Helper()
	var blocks, tags, revokes, commits int
	for r, err := range journal.Walk(log, bs) {
		if err != nil {
			t.Error(err)
		}
		blocks += int(r.Count)
		if r.State != journal.StateLive {
			continue
		}
		if !r.ChecksumOK() {
			t.Errorf("%v block %d: bad checksum", r.Type, r.Block)
		}
		for _, tag := range r.Tags {
			if !tag.ChecksumOK() {
				t.Errorf("log block %d: bad checksum", tag.LogBlock)
			}
		}
		tags, revokes = tags+len(r.Tags), revokes+len(r.Revokes)
		if r.Commit != nil {
			if tr := rec.Transactions[commits]; tr.ID != r.Sequence || tr.Commit != r.Block || !tr.Time().Equal(r.Commit.Time()) {
				t.Errorf("transaction %+v, commit %+v", tr, r)
			}
			commits++
		}
	}
	want := 0
	for _, tr := range rec.Transactions {
		want += int(tr.Tags)
	}
	if s := &rec.Superblock; blocks != int(s.Last()-s.First) || tags != want || revokes != rec.Revokes || commits != len(rec.Transactions) {
		t.Errorf("walk: %d blocks, %d tags, %d revokes, %d commits; want %d, %d, %d, %d",
			blocks, tags, revokes, commits, s.Last()-s.First, want, rec.Revokes, len(rec.Transactions))
	}
}

// compare wants all blocks equal but for those of the journal and the
// superblock itself, in which recovery clears a flag.
func (ci *crashImage) compare(t *testing.T, got, want device.Device) {
	t.Helper()
	bs := int64(ci.sb.BlockSize())
	bad := 0
	for n, b := range differing(t, got, want, int(bs)) {
		if off := disk.SuperblockOffset - n*bs; off >= 0 && off < bs {
			clear(b[0][off : off+disk.SuperblockSize])
			clear(b[1][off : off+disk.SuperblockSize])
		}
		if ci.owns(uint64(n)) || bytes.Equal(b[0], b[1]) {
			continue
		}
		if bad++; bad < 10 {
			t.Errorf("block %d differs", n)
		}
	}
	if bad > 0 {
		t.Errorf("%d blocks differ", bad)
	}
}

// differing yields the blocks that are not equal on two devices.
func differing(t *testing.T, got, want device.Device, bs int) iter.Seq2[int64, [2][]byte] {
	return func(yield func(int64, [2][]byte) bool) {
		t.Helper()
		const chunk = 1 << 20
		a, b := make([]byte, chunk), make([]byte, chunk)
		for off := int64(0); off < got.Size(); off += chunk {
			n := min(chunk, got.Size()-off) / int64(bs) * int64(bs)
			for _, d := range []struct {
				dev device.Device
				p   []byte
			}{{got, a[:n]}, {want, b[:n]}} {
				if _, err := d.dev.ReadAt(d.p, off); err != nil {
					t.Fatal(err)
				}
			}
			if bytes.Equal(a[:n], b[:n]) {
				continue
			}
			for i := int64(0); i < n; i += int64(bs) {
				x, y := a[i:i+int64(bs)], b[i:i+int64(bs)]
				if !bytes.Equal(x, y) && !yield((off+i)/int64(bs), [2][]byte{x, y}) {
					return
				}
			}
		}
	}
}
