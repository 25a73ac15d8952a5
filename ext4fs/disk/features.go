package disk

import (
	"fmt"
	"math/bits"
	"strings"
)

// Feature words of the superblock. An unknown Incompat bit forbids opening,
// an unknown ROCompat bit forbids writing, an unknown Compat bit forbids only
// checking and resizing.
type (
	Compat   uint32
	Incompat uint32
	ROCompat uint32
)

// Compatible features.
const (
	CompatDirPrealloc   Compat = 0x0001
	CompatImagicInodes  Compat = 0x0002
	CompatHasJournal    Compat = 0x0004
	CompatExtAttr       Compat = 0x0008
	CompatResizeInode   Compat = 0x0010
	CompatDirIndex      Compat = 0x0020
	CompatLazyBG        Compat = 0x0040
	CompatExcludeInode  Compat = 0x0080
	CompatExcludeBitmap Compat = 0x0100
	CompatSparseSuper2  Compat = 0x0200
	CompatFastCommit    Compat = 0x0400
	CompatStableInodes  Compat = 0x0800
	CompatOrphanFile    Compat = 0x1000
)

// Incompatible features.
const (
	IncompatCompression  Incompat = 0x00001
	IncompatFiletype     Incompat = 0x00002
	IncompatRecover      Incompat = 0x00004
	IncompatJournalDev   Incompat = 0x00008
	IncompatMetaBG       Incompat = 0x00010
	IncompatExtents      Incompat = 0x00040
	Incompat64bit        Incompat = 0x00080
	IncompatMMP          Incompat = 0x00100
	IncompatFlexBG       Incompat = 0x00200
	IncompatEAInode      Incompat = 0x00400
	IncompatDirdata      Incompat = 0x01000
	IncompatCsumSeed     Incompat = 0x02000
	IncompatLargeDir     Incompat = 0x04000
	IncompatInlineData   Incompat = 0x08000
	IncompatEncrypt      Incompat = 0x10000
	IncompatCasefold     Incompat = 0x20000
	IncompatNotReadable           = IncompatCompression | IncompatDirdata
	IncompatKnown                 = 0x3f7df &^ IncompatNotReadable
	incompatKnownByMount          = IncompatKnown &^ IncompatJournalDev
)

// Read-only compatible features.
const (
	ROCompatSparseSuper   ROCompat = 0x00001
	ROCompatLargeFile     ROCompat = 0x00002
	ROCompatBtreeDir      ROCompat = 0x00004
	ROCompatHugeFile      ROCompat = 0x00008
	ROCompatGDTCsum       ROCompat = 0x00010
	ROCompatDirNlink      ROCompat = 0x00020
	ROCompatExtraIsize    ROCompat = 0x00040
	ROCompatHasSnapshot   ROCompat = 0x00080
	ROCompatQuota         ROCompat = 0x00100
	ROCompatBigalloc      ROCompat = 0x00200
	ROCompatMetadataCsum  ROCompat = 0x00400
	ROCompatReplica       ROCompat = 0x00800
	ROCompatReadonly      ROCompat = 0x01000
	ROCompatProject       ROCompat = 0x02000
	ROCompatSharedBlocks  ROCompat = 0x04000
	ROCompatVerity        ROCompat = 0x08000
	ROCompatOrphanPresent ROCompat = 0x10000
)

// Names as dumpe2fs and mke2fs spell them, by bit number.
var (
	compatNames = [32]string{
		"dir_prealloc", "imagic_inodes", "has_journal", "ext_attr", "resize_inode", "dir_index",
		"lazy_bg", "exclude_inode", "exclude_bitmap", "sparse_super2", "fast_commit", "stable_inodes", "orphan_file",
	}
	incompatNames = [32]string{
		"compression", "filetype", "needs_recovery", "journal_dev", "meta_bg", "", "extent", "64bit", "mmp",
		"flex_bg", "ea_inode", "", "dirdata", "metadata_csum_seed", "large_dir", "inline_data", "encrypt", "casefold",
	}
	roCompatNames = [32]string{
		"sparse_super", "large_file", "btree_dir", "huge_file", "uninit_bg", "dir_nlink", "extra_isize",
		"has_snapshot", "quota", "bigalloc", "metadata_csum", "replica", "read-only", "project", "shared_blocks",
		"verity", "orphan_present",
	}
	// featureAliases are other spellings that users know.
	featureAliases = map[string]string{
		"extents": "extent", "gdt_csum": "uninit_bg", "large_files": "large_file", "readonly": "read-only",
		"recover": "needs_recovery", "csum_seed": "metadata_csum_seed", "orphan_replay": "orphan_present",
	}
)

// Has reports whether all of bits are set.
func (c Compat) Has(bits Compat) bool { return c&bits == bits }

// Has reports whether all of bits are set.
func (i Incompat) Has(bits Incompat) bool { return i&bits == bits }

// Has reports whether all of bits are set.
func (r ROCompat) Has(bits ROCompat) bool { return r&bits == bits }

// Names lists the set features; an unknown bit N is FEATURE_CN.
func (c Compat) Names() []string { return featureNames(uint32(c), &compatNames, 'C') }

// Names lists the set features; an unknown bit N is FEATURE_IN.
func (i Incompat) Names() []string { return featureNames(uint32(i), &incompatNames, 'I') }

// Names lists the set features; an unknown bit N is FEATURE_RN.
func (r ROCompat) Names() []string { return featureNames(uint32(r), &roCompatNames, 'R') }

func featureNames(word uint32, names *[32]string, letter byte) []string {
	list := make([]string, 0, bits.OnesCount32(word))
	for n := range 32 {
		if word&(1<<n) == 0 {
			continue
		}
		if names[n] != "" {
			list = append(list, names[n])
		} else {
			list = append(list, fmt.Sprintf("FEATURE_%c%d", letter, n))
		}
	}
	return list
}

// Unreadable returns the bits that forbid reading: unknown ones, and those
// that Linux never implemented.
func (i Incompat) Unreadable() Incompat { return i &^ incompatKnownByMount }

// Features is the three feature words of a file system.
type Features struct {
	Compat   Compat
	Incompat Incompat
	ROCompat ROCompat
}

// Names lists all features in the order compat, incompat, ro_compat.
func (f Features) Names() []string {
	return append(append(f.Compat.Names(), f.Incompat.Names()...), f.ROCompat.Names()...)
}

// With returns f and the features of g.
func (f Features) With(g Features) Features {
	return Features{Compat: f.Compat | g.Compat, Incompat: f.Incompat | g.Incompat, ROCompat: f.ROCompat | g.ROCompat}
}

// Without returns f without the features of g.
func (f Features) Without(g Features) Features {
	return Features{Compat: f.Compat &^ g.Compat, Incompat: f.Incompat &^ g.Incompat, ROCompat: f.ROCompat &^ g.ROCompat}
}

// String joins Names with spaces; ParseFeatures reads it back.
func (f Features) String() string { return strings.Join(f.Names(), " ") }

// ParseFeatures changes base by a list of feature names separated by commas
// or blanks; a name with ^ or - before it clears the feature, "none" clears
// all. Unknown names are an error.
func ParseFeatures(list string, base Features) (Features, error) {
	f := base
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if word == "none" {
			f = Features{}
			continue
		}
		name, clear := word, false
		if c := word[0]; c == '^' || c == '-' || c == '+' {
			name, clear = word[1:], c != '+'
		}
		one, ok := featureByName(name)
		if !ok {
			return base, fmt.Errorf("unknown feature %q", name)
		}
		if clear {
			f = f.Without(one)
		} else {
			f = f.With(one)
		}
	}
	return f, nil
}

func featureByName(name string) (Features, bool) {
	if a, ok := featureAliases[name]; ok {
		name = a
	}
	for n := range 32 {
		bit := uint32(1) << n
		for _, set := range []struct {
			names  *[32]string
			letter byte
			f      Features
		}{
			{&compatNames, 'C', Features{Compat: Compat(bit)}},
			{&incompatNames, 'I', Features{Incompat: Incompat(bit)}},
			{&roCompatNames, 'R', Features{ROCompat: ROCompat(bit)}},
		} {
			known := set.names[n]
			if known == "" {
				known = fmt.Sprintf("FEATURE_%c%d", set.letter, n)
			}
			if known == name {
				return set.f, true
			}
		}
	}
	return Features{}, false
}
