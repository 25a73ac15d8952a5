package format

import (
	"strconv"
	"strings"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// Features that can be asked for. The others say what state a file system is
// in, or nobody writes them.
var settable = disk.Features{
	Compat: disk.CompatHasJournal | disk.CompatResizeInode | disk.CompatDirIndex | disk.CompatExtAttr |
		disk.CompatSparseSuper2 | disk.CompatFastCommit | disk.CompatStableInodes | disk.CompatOrphanFile,
	Incompat: disk.IncompatFiletype | disk.IncompatExtents | disk.IncompatJournalDev | disk.IncompatMetaBG |
		disk.IncompatFlexBG | disk.IncompatEAInode | disk.IncompatMMP | disk.Incompat64bit | disk.IncompatInlineData |
		disk.IncompatEncrypt | disk.IncompatCasefold | disk.IncompatCsumSeed | disk.IncompatLargeDir,
	ROCompat: disk.ROCompatLargeFile | disk.ROCompatHugeFile | disk.ROCompatDirNlink | disk.ROCompatExtraIsize |
		disk.ROCompatSparseSuper | disk.ROCompatGDTCsum | disk.ROCompatBigalloc | disk.ROCompatQuota |
		disk.ROCompatMetadataCsum | disk.ROCompatProject | disk.ROCompatVerity,
}

// mke2fsAliases are spellings that mke2fs knows besides those of package disk.
var mke2fsAliases = map[string]string{"uninit_groups": "uninit_bg", "fname_encoding": "casefold"}

// ParseFeatures reads a list of features, as -O takes it, and appends it to
// o.Features: names separated by commas or blanks, with ^ or - before them to
// clear; "none" clears all that the type has.
func (o *Options) ParseFeatures(list string) error {
	for word := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		if _, err := editFeature(disk.Features{}, word); err != nil {
			return err
		}
		o.Features = append(o.Features, word)
	}
	return nil
}

// editFeature changes f by one word.
func editFeature(f disk.Features, word string) (disk.Features, error) {
	if strings.EqualFold(word, "none") {
		return disk.Features{}, nil
	}
	name, clear := word, false
	switch {
	case strings.HasPrefix(word, "^"), strings.HasPrefix(word, "-"):
		name, clear = word[1:], true
	case strings.HasPrefix(word, "+"):
		name = word[1:]
	}
	name = strings.ToLower(name)
	if a, ok := mke2fsAliases[name]; ok {
		name = a
	}
	if name == "" || strings.ContainsAny(name, "^-+, ") && name != "read-only" {
		return f, bad("features", word, "not a feature")
	}
	one, ok := numberedFeature(name)
	if !ok {
		var err error
		if one, err = disk.ParseFeatures(name, disk.Features{}); err != nil || one == (disk.Features{}) {
			return f, bad("features", word, "unknown feature")
		}
	}
	if one.Without(settable) != (disk.Features{}) {
		return f, bad("features", word, "cannot be chosen when a file system is made")
	}
	if clear {
		return f.Without(one), nil
	}
	return f.With(one), nil
}

// numberedFeature reads names like FEATURE_C12: a word and a bit of it.
func numberedFeature(name string) (f disk.Features, ok bool) {
	rest, ok := strings.CutPrefix(name, "feature_")
	if !ok || len(rest) < 2 {
		return f, false
	}
	n, err := strconv.ParseUint(rest[1:], 10, 32)
	if err != nil || n > 31 {
		return f, false
	}
	switch bit := uint32(1) << n; rest[0] {
	case 'c':
		f.Compat = disk.Compat(bit)
	case 'i':
		f.Incompat = disk.Incompat(bit)
	case 'r':
		f.ROCompat = disk.ROCompat(bit)
	default:
		return f, false
	}
	return f, true
}

// The feature sets of mke2fs.conf in e2fsprogs 1.47.0. Later releases add
// metadata_csum_seed and orphan_file to those of ext4, as the original 1.47.0
// does; the configuration that distributions ship leaves them out.
var (
	baseFeatures = disk.Features{
		Compat:   disk.CompatResizeInode | disk.CompatDirIndex | disk.CompatExtAttr,
		Incompat: disk.IncompatFiletype,
		ROCompat: disk.ROCompatSparseSuper | disk.ROCompatLargeFile,
	}
	ext4Features = disk.Features{
		Compat:   disk.CompatHasJournal,
		Incompat: disk.IncompatExtents | disk.IncompatFlexBG | disk.Incompat64bit,
		ROCompat: disk.ROCompatHugeFile | disk.ROCompatMetadataCsum | disk.ROCompatDirNlink | disk.ROCompatExtraIsize,
	}
)

// typeFeatures are the defaults of a type.
func typeFeatures(typ string) (disk.Features, error) {
	f := baseFeatures
	switch typ {
	case "ext2":
	case "ext3":
		f.Compat |= disk.CompatHasJournal
	case "ext4":
		f = f.With(ext4Features)
	default:
		return f, bad("type", typ, "want ext2, ext3 or ext4")
	}
	return f, nil
}

// hurdForbids are features that the Hurd does not know.
var hurdForbids = disk.Features{
	Incompat: disk.IncompatFiletype | disk.IncompatEAInode | disk.IncompatCasefold,
	ROCompat: disk.ROCompatHugeFile | disk.ROCompatMetadataCsum,
}

// chooseFeatures makes the feature words of the type and the changes to it.
func (b *builder) chooseFeatures() error {
	o := b.o
	if o.Revision0 {
		if len(o.Features) > 0 {
			return bad("features", strings.Join(o.Features, ","), "not supported with revision 0")
		}
		if o.Journal.Want || o.Journal.Device != nil {
			return bad("journal", nil, "not supported with revision 0")
		}
		return nil
	}
	f, err := typeFeatures(b.typ)
	if err != nil {
		return err
	}
	if b.hurd {
		f = f.Without(hurdForbids)
	}
	for _, word := range o.Features {
		if f, err = editFeature(f, word); err != nil {
			return err
		}
	}
	if b.hurd {
		no := disk.Features{
			Incompat: f.Incompat & hurdForbids.Incompat &^ disk.IncompatCasefold, ROCompat: f.ROCompat & hurdForbids.ROCompat,
		}
		if no != (disk.Features{}) {
			return bad("features", no.String(), "not supported by the Hurd")
		}
	}
	if o.Journal.Want || o.Journal.Device != nil {
		f.Compat |= disk.CompatHasJournal
	}
	if o.Encoding != "" {
		f.Incompat |= disk.IncompatCasefold
	}
	for _, k := range o.Quota {
		if k == disk.QuotaProject {
			f.ROCompat |= disk.ROCompatProject
		}
	}
	b.sb.Features = f
	if f.Incompat.Has(disk.IncompatJournalDev) {
		b.sb.Features = disk.Features{Incompat: disk.IncompatJournalDev, ROCompat: f.ROCompat & disk.ROCompatMetadataCsum}
	}
	return nil
}

// checkFeatures applies the rules between features. It comes when the other
// options have added theirs.
func (b *builder) checkFeatures() error {
	f := &b.sb.Features
	has := func(i disk.Incompat) bool { return f.Incompat.Has(i) }
	ro := func(r disk.ROCompat) bool { return f.ROCompat.Has(r) }
	switch extents := has(disk.IncompatExtents); {
	case has(disk.Incompat64bit) && !extents:
		return bad("features", "64bit", "needs extent")
	case ro(disk.ROCompatBigalloc) && !extents:
		return bad("features", "bigalloc", "needs extent")
	case ro(disk.ROCompatVerity) && !extents:
		return bad("features", "verity", "needs extent")
	case has(disk.IncompatMetaBG) && f.Compat.Has(disk.CompatResizeInode):
		return bad("features", "meta_bg", "excludes resize_inode")
	case f.Compat.Has(disk.CompatResizeInode) && !ro(disk.ROCompatSparseSuper):
		return bad("features", "resize_inode", "needs sparse_super")
	case has(disk.IncompatCsumSeed) && !ro(disk.ROCompatMetadataCsum):
		return bad("features", "metadata_csum_seed", "needs metadata_csum")
	case f.Compat.Has(disk.CompatOrphanFile) && !f.Compat.Has(disk.CompatHasJournal):
		return bad("features", "orphan_file", "needs a journal")
	case b.o.EncodingFlags != "" && !has(disk.IncompatCasefold):
		return bad("encoding flags", b.o.EncodingFlags, "need casefold")
	}
	if ro(disk.ROCompatMetadataCsum) {
		f.ROCompat &^= disk.ROCompatGDTCsum
		if !has(disk.IncompatExtents) && !has(disk.IncompatJournalDev) {
			b.warn("without extent the maps of files have no checksums")
		}
		if !has(disk.Incompat64bit) && !has(disk.IncompatJournalDev) {
			b.warn("without 64bit the checksums of bitmaps have 16 bits only")
		}
	}
	if f.Compat.Has(disk.CompatFastCommit) && !f.Compat.Has(disk.CompatHasJournal) {
		b.warn("fast_commit has no effect without a journal")
	}
	return nil
}
