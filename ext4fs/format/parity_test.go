package format

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/testimages"
)

// mkfsCase is a file system that mke2fs and this package make alike. It is
// written as arguments of mke2fs, the last one the size.
type mkfsCase string

// parityTime and the like make what would be random the same on both sides.
const (
	parityTime = 1700000000
	parityUUID = "01234567-89ab-cdef-0123-456789abcdef"
	paritySeed = "fedcba98-7654-3210-fedc-ba9876543210"
)

// options reads the arguments as the command does.
func (c mkfsCase) options(t testing.TB) *Options {
	t.Helper()
	o := &Options{Time: time.Unix(parityTime, 0)}
	must := func(err error) {
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
	}
	num := func(s string) int64 {
		a, err := ParseAmount(s)
		must(err)
		return int64(a.N)
	}
	args := strings.Fields(string(c))
	for i := 0; i < len(args)-1; i += 2 {
		v := args[i+1]
		switch args[i] {
		case "-t":
			o.Type = v
		case "-T":
			o.Usage = strings.Split(v, ",")
		case "-b":
			o.BlockSize = int(num(v))
		case "-C":
			o.ClusterSize = num(v)
		case "-i":
			o.InodeRatio = num(v)
		case "-I":
			o.InodeSize = int(num(v))
		case "-N":
			o.Inodes = uint64(num(v))
		case "-m":
			r, err := strconv.ParseFloat(v, 64)
			must(err)
			o.ReservedPercent = &r
		case "-g":
			o.BlocksPerGroup = uint32(num(v))
		case "-G":
			o.FlexSize = uint32(num(v))
		case "-O":
			must(o.ParseFeatures(v))
		case "-E":
			must(o.ParseExtended(v))
		case "-J":
			must(o.ParseJournal(v))
		case "-L":
			o.Label = v
		case "-M":
			o.LastMounted = v
		case "-e":
			o.Errors = v
		case "-o":
			o.CreatorOS = v
		case "-r":
			o.Revision0 = v == "0"
		default:
			t.Fatalf("%s: unknown argument %s", c, args[i])
		}
	}
	var err error
	o.UUID, err = parseUUID("uuid", parityUUID)
	must(err)
	o.HashSeed, err = parseUUID("seed", paritySeed)
	must(err)
	o.Size = c.size(t)
	return o
}

// size is the size in bytes.
func (c mkfsCase) size(t testing.TB) int64 {
	args := strings.Fields(string(c))
	a, err := ParseAmount(args[len(args)-1])
	if err != nil {
		t.Fatal(err)
	}
	return int64(a.N)
}

// mke2fs runs it on a new sparse file.
func (c mkfsCase) mke2fs(t testing.TB, dir string) (string, error) {
	t.Helper()
	img := filepath.Join(dir, "mke2fs.img")
	os.Remove(img)
	f, err := os.Create(img)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(c.size(t)); err != nil {
		t.Fatal(err)
	}
	args := strings.Fields(string(c))
	args = args[:len(args)-1]
	ext := "lazy_journal_init=1,hash_seed=" + paritySeed
	typ := []string{"-t", "ext4"}
	var rest []string
	for i := 0; i < len(args); i += 2 {
		switch args[i] {
		case "-E":
			ext += "," + args[i+1]
		case "-t":
			typ = args[i : i+2]
		default:
			rest = append(rest, args[i:i+2]...)
		}
	}
	all := append([]string{"-F", "-q", "-U", parityUUID, "-E", ext}, typ...)
	// Without a size mke2fs rounds that of the file to pages.
	kib := fmt.Sprintf("%dK", c.size(t)/1024)
	cmd := exec.Command("mke2fs", append(append(all, rest...), img, kib)...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("E2FSPROGS_FAKE_TIME=%d", parityTime))
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return img, err
}

// readPlaces reads the superblock and the places that descriptors tell.
func readPlaces(t testing.TB, img string) (sb disk.Superblock, groups []place) {
	t.Helper()
	f, err := os.Open(img)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sb = readSuper(t, f)
	size := int64(sb.BlockSize())
	b := make([]byte, size)
	per := disk.GroupNum(sb.DescsPerBlock())
	for g := range sb.Groups() {
		if g%per == 0 {
			if _, err := f.ReadAt(b, int64(sb.DescBlock(uint32(g/per)))*size); err != nil {
				t.Fatal(err)
			}
		}
		d := disk.GroupDesc(b[int(g%per)*sb.DescSize():][:sb.DescSize()])
		groups = append(groups, place{d.BlockBitmap(), d.InodeBitmap(), d.InodeTable()})
	}
	return sb, groups
}

func readSuper(t testing.TB, r io.ReaderAt) (sb disk.Superblock) {
	t.Helper()
	var raw [disk.SuperblockSize]byte
	if _, err := r.ReadAt(raw[:], disk.SuperblockOffset); err != nil {
		t.Fatal(err)
	}
	if err := sb.Decode(raw[:]); err != nil {
		t.Fatal(err)
	}
	return sb
}

// placeCases are compared by whole images, the largest by superblock and places
// alone, which is quick.
var placeCases = []mkfsCase{
	"1M", "2M", "3M", "7M", "8M", "16M", "100M", "511M", "512M", "1G", "2G", "10G", "100G", "1T", "5T",
	"-b 1024 1T", "-b 2048 1T", "-b 4096 15T", "-b 65536 16T", "-b 8192 20G", "-b 16384 50G", "-b 32768 100G", "-b 65536 100G",
	"-t ext2 10M", "-t ext2 1G", "-t ext2 20G", "-t ext3 10M", "-t ext3 1G", "-t ext3 20G", "-t ext2 -b 1024 10G", "-t ext3 -b 1024 3G",
	"-O bigalloc 1G", "-O bigalloc -C 65536 100G", "-O bigalloc,^64bit 10G", "-b 1024 -O bigalloc 1G", "-b 1024 -O bigalloc -C 4096 1G",
	"-O bigalloc -C 1048576 100G", "-O bigalloc,^flex_bg 10G", "-O bigalloc,^resize_inode 10G", "-b 1024 -O bigalloc,^flex_bg 500M",
	"-O meta_bg,^resize_inode 10G", "-O meta_bg,^resize_inode 1T", "-b 1024 -O meta_bg,^resize_inode 10G",
	"-O meta_bg,^resize_inode,^flex_bg 30G", "-O meta_bg,^resize_inode,^sparse_super 30G", "-O meta_bg,^resize_inode,^64bit 30G",
	"-O ^resize_inode 10G", "-O ^flex_bg 10G", "-O ^flex_bg 100M", "-O ^flex_bg,^sparse_super,^resize_inode 10G",
	"-O ^sparse_super,^resize_inode 30G", "-O sparse_super2 1G", "-O sparse_super2 100G", "-O sparse_super2 -E num_backup_sb=1 10G",
	"-O sparse_super2 -E num_backup_sb=0 10G", "-O sparse_super2,^resize_inode 100M", "-O sparse_super2 100M", "-O sparse_super2 200M",
	"-E packed_meta_blocks=1 1G", "-E packed_meta_blocks=1 100G", "-E packed_meta_blocks=1 -O bigalloc 100G", "-b 1024 -E packed_meta_blocks=1 1G",
	"-G 1 10G", "-G 4 10G", "-G 64 100G", "-G 4096 1T", "-g 8192 1G", "-g 256 -b 1024 -N 256 30M", "-g 16384 -O ^flex_bg 5G",
	"-N 11 10M", "-N 1000000 10G", "-N 12 1G", "-i 1024 1G", "-i 1048576 10G", "-i 67108864 1T", "-I 128 1G", "-I 512 1G", "-I 1024 10G", "-I 4096 10G",
	"-m 0 1G", "-m 50 1G", "-m 1.5 1234567K", "-m 0.1 77777777K", "-E resize=100000000 1G", "-E resize=2G 1G", "-E resize=4294967295 100G",
	"-E stride=16,stripe_width=64 10G", "-O ^flex_bg -E stride=16 10G", "-O ^flex_bg -E stride=10000 10G", "-E stride=7,stripe_width=21 -t ext3 3G",
	"-O ^has_journal 1G", "-O ^64bit 1G", "-O ^metadata_csum 1G", "-O ^metadata_csum,uninit_bg 1G", "-O ^extent,^64bit 1G",
	"-O ^extent,^64bit,^metadata_csum 100M", "-O none 1G", "-O none,extent,64bit,bigalloc 10G", "-T news 1G", "-T largefile 1G", "-T largefile4 1T", "-T small 4G",
	"-T floppy 1440K", "-T huge 1G", "-T big 1G", "-T hurd -t ext2 1G", "-o hurd -t ext2 1G", "-O quota 1G", "-O quota,project 1G", "-O mmp 1G",
	"-O inline_data 1G", "-O orphan_file 1G", "-O orphan_file 10M", "-O orphan_file -E orphan_file_size=1M 1G", "-O fast_commit 1G", "-O encrypt,verity 1G",
	"-O casefold 1G", "-E encoding=utf8,encoding_flags=strict 1G", "-O metadata_csum_seed 1G", "-O large_dir,ea_inode,stable_inodes 1G",
	"-J size=4 1G", "-J size=1024 10G", "-J size=128,location=1000 1G", "-J location=0 10G", "-O fast_commit -J fast_commit_size=1024 10G",
	"-r 0 -t ext2 10M", "-r 0 -t ext2 1G", "-L label -M /mnt/x -e panic 1G", "-e remount-ro 100M", "-E mmp_update_interval=20 -O mmp 1G", "-E test_fs 1G",
	"-E desc_size=128 10G", "-b 65536 -I 32768 10G", "-b 1024 -I 1024 100M", "-b 1024 8193K", "-b 1024 8250K", "-b 1024 16387K", "135169K", "134217729K",
	"-b 1024 -g 8184 100M", "-O ^resize_inode,^sparse_super -b 1024 300M", "-b 2048 -i 1024 200M",
}

func TestPlan_placesAreThoseOfMke2fs(t *testing.T) {
	t.Parallel()
	testimages.RequireTool(t, "mke2fs")
	dir := testimages.Scratch(t)
	for _, c := range placeCases {
		if c.size(t) <= 100<<30 {
			continue // whole images are compared elsewhere
		}
		t.Run(strings.ReplaceAll(string(c), " ", "_"), func(t *testing.T) {
			img, mkErr := c.mke2fs(t, dir)
			defer os.Remove(img)
			o := c.options(t)
			p, err := newPlan(o, o.Size, need{})
			if mkErr != nil || err != nil {
				if (mkErr == nil) != (err == nil) {
					t.Fatalf("mke2fs: %v; ours: %v", mkErr, err)
				}
				t.Logf("both refuse: %v; ours: %v", mkErr, err)
				return
			}
			sb, groups := readPlaces(t, img)
			compareSuper(t, &sb, &p.sb)
			if len(groups) != len(p.groups) {
				t.Fatalf("%d groups, mke2fs has %d", len(p.groups), len(groups))
			}
			bad := 0
			for g := range groups {
				if groups[g] != p.groups[g] {
					t.Errorf("group %d: %v, mke2fs has %v", g, p.groups[g], groups[g])
					if bad++; bad > 5 {
						break
					}
				}
			}
		})
	}
}

// compareSuper compares what a plan knows of the superblock.
func compareSuper(t *testing.T, want, got *disk.Superblock) {
	t.Helper()
	a, b := *want, *got
	for _, s := range []*disk.Superblock{&a, &b} {
		s.FreeBlocks, s.FreeInodes, s.JournalBlocks, s.KBytesWritten, s.Checksum = 0, 0, [17]uint32{}, 0, 0
		s.ProjectQuotaInode, s.OrphanFileInode = 0, 0
	}
	for _, d := range superDiff(&a, &b) {
		t.Error(d)
	}
}
