package format

import (
	"fmt"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Profile is what a reader of ext file systems other than today's Linux
// understands. PROFILES.md in this folder is the same table for people, with
// the source of each row.
type Profile struct {
	Name   string
	Reader string // what it is, with its version
	Type   string // file system type to make: "ext3", "ext4"
	// Writes says that the reader writes too. One that only reads does not
	// care for read-only compatible features.
	Writes bool
	// Features are those that the reader understands, or may ignore.
	Features disk.Features
	// Defaults are changes, as -O takes them, to what the type has by default
	// besides those that follow from Features: what the tools of the reader's
	// time do not know, or what the reader needs.
	Defaults string
	// MaxBlockSize is the largest block it reads, in bytes.
	MaxBlockSize int
	InodeSize    int    // in bytes, of the default; 0 is the type's own
	Note         string // "" or a limit that no feature tells
	Source       string // where the facts come from
}

// Feature sets that several readers share.
const (
	compatExt3    = disk.CompatHasJournal | disk.CompatExtAttr | disk.CompatResizeInode | disk.CompatDirIndex
	compatLinux4  = compatExt3 | disk.CompatSparseSuper2
	compatLinux5  = compatLinux4 | disk.CompatFastCommit | disk.CompatStableInodes
	compatAny     = compatLinux5 | disk.CompatOrphanFile
	incompatExt3  = disk.IncompatFiletype | disk.IncompatRecover | disk.IncompatMetaBG
	incompat2632  = incompatExt3 | disk.IncompatExtents | disk.Incompat64bit | disk.IncompatFlexBG
	incompat310   = incompat2632 | disk.IncompatMMP | disk.IncompatInlineData
	incompat419   = incompat310 | disk.IncompatEAInode | disk.IncompatEncrypt | disk.IncompatCsumSeed | disk.IncompatLargeDir
	incompat515   = incompat419 | disk.IncompatCasefold
	roExt3        = disk.ROCompatSparseSuper | disk.ROCompatLargeFile
	ro2632        = roExt3 | disk.ROCompatHugeFile | disk.ROCompatGDTCsum | disk.ROCompatDirNlink | disk.ROCompatExtraIsize
	ro310         = ro2632 | disk.ROCompatBigalloc | disk.ROCompatMetadataCsum | disk.ROCompatQuota
	ro419         = ro310 | disk.ROCompatReadonly | disk.ROCompatProject
	ro515         = ro419 | disk.ROCompatVerity
	ro6           = ro515 | disk.ROCompatOrphanPresent
	roAny         = ro6 | disk.ROCompatSharedBlocks
	linuxMaxBlock = 64 << 10
	smallMaxBlock = 4 << 10
)

const pageNote = "blocks up to the page size of the machine"

// profiles is the table, in the order of the list that users see.
var profiles = []Profile{
	{
		Name: "grub", Reader: "GRUB 2.04", Type: "ext4", MaxBlockSize: smallMaxBlock,
		Features: disk.Features{
			Compat: compatAny, ROCompat: roAny &^ disk.ROCompatBigalloc,
			Incompat: incompat2632 | disk.IncompatMMP | disk.IncompatEncrypt,
		},
		Note:   "it does not ask for bigalloc, and misreads it with blocks of 1 KiB",
		Source: "GRUB 2.06, grub-core/fs/ext2.c, EXT2_DRIVER_SUPPORTED_INCOMPAT and EXT2_DRIVER_IGNORED_INCOMPAT",
	},
	{
		Name: "grub-2.12", Reader: "GRUB 2.12", Type: "ext4", MaxBlockSize: smallMaxBlock,
		Features: disk.Features{
			Compat: compatAny, ROCompat: roAny &^ disk.ROCompatBigalloc,
			Incompat: incompat2632 | disk.IncompatMMP | disk.IncompatEncrypt | disk.IncompatCsumSeed | disk.IncompatLargeDir,
		},
		Source: "GRUB 2.12, the same place",
	},
	{
		Name: "u-boot", Reader: "U-Boot 2018.01 with ext4write", Type: "ext4", Writes: true, MaxBlockSize: smallMaxBlock,
		Features: disk.Features{
			Compat: disk.CompatHasJournal | disk.CompatExtAttr | disk.CompatResizeInode, ROCompat: ro2632,
			Incompat: disk.IncompatFiletype | disk.IncompatRecover | disk.IncompatExtents | disk.IncompatFlexBG,
		},
		Defaults: "uninit_bg",
		Note:     "it checks no features: what is missing here is misread, or refused when it is to write",
		Source:   "U-Boot, fs/ext4/ext4_write.c (metadata_csum, hash trees), fs/ext4/ext4_common.c (descriptors, checksums)",
	},
	{
		Name: "linux-2.6", Reader: "Linux 2.6, the ext3 driver", Type: "ext3", Writes: true, MaxBlockSize: smallMaxBlock, InodeSize: 128,
		Features: disk.Features{Compat: compatExt3, Incompat: incompatExt3, ROCompat: roExt3},
		Note:     "inodes of 128 bytes: times end in 2038",
		Source:   "Linux v3.10, fs/ext4/ext4.h, EXT3_FEATURE_INCOMPAT_SUPP and EXT3_FEATURE_RO_COMPAT_SUPP, which are those of ext3",
	},
	{
		Name: "linux-2.6.32", Reader: "Linux 2.6.32 to 2.6.39", Type: "ext4", Writes: true, MaxBlockSize: linuxMaxBlock,
		Features: disk.Features{Compat: compatExt3, Incompat: incompat2632, ROCompat: ro2632},
		Defaults: "^64bit,uninit_bg", Note: pageNote,
		Source: "Linux v2.6.34, fs/ext4/ext4.h, EXT4_FEATURE_INCOMPAT_SUPP and EXT4_FEATURE_RO_COMPAT_SUPP; e2fsprogs 1.41 knows no 64bit",
	},
	{
		Name: "linux-3.10", Reader: "Linux 3.10", Type: "ext4", Writes: true, MaxBlockSize: linuxMaxBlock,
		Features: disk.Features{Compat: compatExt3, Incompat: incompat310, ROCompat: ro310},
		Defaults: "^metadata_csum,uninit_bg", Note: pageNote,
		Source: "Linux v3.10, fs/ext4/ext4.h, EXT4_FEATURE_INCOMPAT_SUPP and EXT4_FEATURE_RO_COMPAT_SUPP; e2fsprogs 1.42 checks no metadata_csum",
	},
	{
		Name: "linux-4.19", Reader: "Linux 4.19", Type: "ext4", Writes: true, MaxBlockSize: linuxMaxBlock,
		Features: disk.Features{Compat: compatLinux4, Incompat: incompat419, ROCompat: ro419},
		Note:     pageNote,
		Source:   "Linux v4.19, fs/ext4/ext4.h, EXT4_FEATURE_INCOMPAT_SUPP and EXT4_FEATURE_RO_COMPAT_SUPP",
	},
	{
		Name: "linux-5.15", Reader: "Linux 5.15", Type: "ext4", Writes: true, MaxBlockSize: linuxMaxBlock,
		Features: disk.Features{Compat: compatLinux5, Incompat: incompat515, ROCompat: ro515},
		Note:     pageNote,
		Source:   "Linux v5.15, fs/ext4/ext4.h, EXT4_FEATURE_INCOMPAT_SUPP and EXT4_FEATURE_RO_COMPAT_SUPP",
	},
	{
		Name: "linux-6.x", Reader: "Linux 6.1", Type: "ext4", Writes: true, MaxBlockSize: linuxMaxBlock,
		Features: disk.Features{Compat: compatAny, Incompat: incompat515, ROCompat: ro6},
		Note:     pageNote,
		Source:   "Linux v6.1, fs/ext4/ext4.h, EXT4_FEATURE_COMPAT_SUPP, EXT4_FEATURE_INCOMPAT_SUPP and EXT4_FEATURE_RO_COMPAT_SUPP",
	},
	{
		Name: "android", Reader: "Android 10 with a 4.14 kernel or later", Type: "ext4", Writes: true, MaxBlockSize: smallMaxBlock,
		Features: disk.Features{
			Compat:   compatLinux4 | disk.CompatStableInodes,
			Incompat: incompat419 | disk.IncompatCasefold,
			ROCompat: ro515 | disk.ROCompatSharedBlocks,
		},
		Defaults: "^64bit,^flex_bg,^metadata_csum,^metadata_csum_seed,^resize_inode,uninit_bg",
		Source:   "AOSP, platform/system/extras, ext4_utils/mke2fs.conf, and the mke2fs.conf of its SDK platform tools; kernels as linux-4.19",
	},
	{
		Name: "wsl", Reader: "WSL 2 with its 5.15 kernel", Type: "ext4", Writes: true, MaxBlockSize: smallMaxBlock,
		Features: disk.Features{Compat: compatLinux5, Incompat: incompat515, ROCompat: ro515},
		Source:   "microsoft/WSL2-Linux-Kernel, branch linux-msft-wsl-5.15.y, fs/ext4/ext4.h, as linux-5.15",
	},
	{
		Name: "freebsd", Reader: "FreeBSD 13, ext2fs", Type: "ext4", Writes: true, MaxBlockSize: smallMaxBlock,
		Features: disk.Features{
			Compat: compatExt3,
			Incompat: disk.IncompatFiletype | disk.IncompatMetaBG | disk.IncompatExtents | disk.Incompat64bit |
				disk.IncompatFlexBG | disk.IncompatCsumSeed,
			ROCompat: ro2632 | disk.ROCompatMetadataCsum,
		},
		Note:   "it writes without using the journal, and mounts nothing that needs recovery",
		Source: "FreeBSD main, sys/fs/ext2fs/ext2fs.h, EXT2F_INCOMPAT_SUPP and EXT2F_ROCOMPAT_SUPP",
	},
	{
		Name: "ext4fuse", Reader: "ext4fuse 0.1.3 (macOS, FreeBSD)", Type: "ext4", MaxBlockSize: smallMaxBlock,
		Features: disk.Features{
			Compat: compatAny, ROCompat: roAny &^ disk.ROCompatBigalloc,
			Incompat: disk.IncompatFiletype | disk.IncompatRecover | disk.IncompatExtents | disk.IncompatFlexBG |
				disk.IncompatMMP | disk.IncompatCsumSeed,
		},
		Note:   "it checks no features and takes the low half of block numbers",
		Source: "gerard/ext4fuse at 6b23d8d, super.c, inode.c, extents.c",
	},
	{
		Name: "lwext4", Reader: "lwext4 1.0", Type: "ext4", Writes: true, MaxBlockSize: smallMaxBlock,
		Features: disk.Features{
			Compat: compatExt3, Incompat: incompat2632 | disk.IncompatMMP, ROCompat: ro2632 | disk.ROCompatMetadataCsum,
		},
		Source: "gkostka/lwext4 at 58bcf89, include/ext4_types.h, EXT4_SUPPORTED_FINCOM, EXT_FINCOM_IGNORED, EXT4_SUPPORTED_FRO_COM",
	},
	{
		Name: "syslinux", Reader: "Syslinux 6.03 (extlinux)", Type: "ext4", MaxBlockSize: smallMaxBlock,
		Features: disk.Features{
			Compat: compatAny, ROCompat: roAny &^ disk.ROCompatBigalloc,
			Incompat: disk.IncompatFiletype | disk.IncompatRecover | disk.IncompatExtents | disk.IncompatFlexBG |
				disk.IncompatMMP | disk.IncompatCsumSeed | disk.IncompatLargeDir,
		},
		Note:   "it checks no features; files with holes may be misread",
		Source: "Syslinux 6.04, core/fs/ext2/ext2.c and bmap.c; wiki.syslinux.org, Filesystem, ext: no 64bit as of 6.03",
	},
}

// profileAliases are other names of profiles.
var profileAliases = map[string]string{
	"uboot": "u-boot", "extlinux": "syslinux", "macos": "ext4fuse", "wsl2": "wsl", "linux-6": "linux-6.x", "grub2": "grub",
}

// Profiles returns the table of readers; it may be changed.
func Profiles() []Profile { return append([]Profile(nil), profiles...) }

// FindProfile finds a reader by its name. Errors list the names there are.
func FindProfile(name string) (*Profile, error) {
	want := strings.ToLower(name)
	if other, ok := profileAliases[want]; ok {
		want = other
	}
	var names []string
	for n := range profiles {
		if profiles[n].Name == want {
			p := profiles[n]
			return &p, nil
		}
		names = append(names, profiles[n].Name)
	}
	return nil, fmt.Errorf("unknown profile %q: want one of %s", name, strings.Join(names, ", "))
}

// defaultFeatures are those that some type of mke2fs 1.47 has by default.
var defaultFeatures = disk.Features{
	Compat:   compatExt3 | disk.CompatOrphanFile,
	Incompat: disk.IncompatFiletype | disk.IncompatExtents | disk.Incompat64bit | disk.IncompatFlexBG | disk.IncompatCsumSeed,
	ROCompat: ro2632 | disk.ROCompatMetadataCsum,
}

// Words are the changes to the features of a type, as ParseFeatures takes
// them, that leave what the reader understands.
func (p *Profile) Words() string {
	var words []string
	clear := func(name string) {
		if word := "^" + name; !strings.Contains(","+p.Defaults+",", ","+word+",") {
			words = append(words, word)
		}
	}
	for _, name := range p.Unknown(defaultFeatures).Names() {
		clear(name)
	}
	words = append(words, strings.FieldsFunc(p.Defaults, func(r rune) bool { return r == ',' })...)
	return strings.Join(words, ",")
}

// Unknown is the part of f that keeps the reader from its work: features it
// does not understand, less what does not matter to one that only reads.
func (p *Profile) Unknown(f disk.Features) disk.Features {
	return f.Without(p.Features)
}

// Check says whether the reader can work with a file system: nil, or an error
// that names what is beyond it.
func (p *Profile) Check(sb *disk.Superblock) error {
	if names := p.Unknown(sb.Features).Names(); len(names) > 0 {
		return fmt.Errorf("profile %s: %s does not understand %s", p.Name, p.Reader, strings.Join(names, ", "))
	}
	if size := sb.BlockSize(); size > p.MaxBlockSize {
		return fmt.Errorf("profile %s: %s reads blocks of at most %d bytes, not %d", p.Name, p.Reader, p.MaxBlockSize, size)
	}
	return nil
}

// Lacks are the names of the features, of those that e4kit writes, that the
// reader does not understand.
func (p *Profile) Lacks() []string {
	all := disk.Features{
		Compat: compatAny, Incompat: incompat515 &^ disk.IncompatRecover,
		ROCompat: roAny &^ (disk.ROCompatOrphanPresent | disk.ROCompatSharedBlocks | disk.ROCompatReadonly),
	}
	return p.Unknown(all).Names()
}
