package format

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

func TestParseAmount(t *testing.T) {
	for text, want := range map[string]Amount{
		"0": {}, "17": {N: 17}, "0x10": {N: 16}, "010": {N: 8}, "1k": {1024, true}, "3M": {3 << 20, true}, "2G": {2 << 30, true},
		"1T": {1 << 40, true}, "8s": {4096, true},
	} {
		if got, err := ParseAmount(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "k", "-1", "1.5M", "1KB", "99999999999T", "1_0", "1S", "18446744073709551616"} {
		if got, err := ParseAmount(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestOptions_ParseExtended(t *testing.T) {
	var o Options
	err := o.ParseExtended("stride=16,stripe-width=64,resize=4G,desc_size=128,num_backup_sb=1,packed_meta_blocks,lazy_itable_init=0," +
		"lazy_journal_init,nodiscard,root_owner=1000:0x10,root_perms=1750,quotatype=usrquota:^grpquota:prj,encoding=utf8,encoding_flags=strict," +
		"mmp_update_interval=30,orphan_file_size=64k,test_fs,offset=1048576,,hash_seed=" + paritySeed)
	if err != nil {
		t.Fatal(err)
	}
	e := o.Extended
	if e.Stride != 16 || e.StripeWidth != 64 || e.Resize != (Amount{4 << 30, true}) || e.DescSize != 128 || *e.BackupSupers != 1 ||
		!e.PackedMeta || *e.LazyItable || !e.LazyJournal || !e.NoDiscard || e.RootUID != 1000 || e.RootGID != 16 || *e.RootMode != 0o1750 ||
		!slices.Equal(e.Quota, []disk.QuotaKind{disk.QuotaUser, disk.QuotaProject}) || e.Encoding != "utf8" || e.EncodingFlags != "strict" ||
		e.MMPInterval != 30 || e.OrphanFileSize.N != 65536 || !e.TestFS || e.Offset != 1<<20 || o.HashSeed[0] != 0xfe {
		t.Errorf("%+v", e)
	}
	if err := o.ParseExtended("discard,packed_meta_blocks=0,revision=0,assume_storage_prezeroed"); err != nil || o.NoDiscard || o.PackedMeta || !o.Revision0 || !o.Zeroed {
		t.Errorf("%v %+v", err, o)
	}
	for _, list := range []string{
		"stride", "stride=x", "stride=65536", "stripe_width=4294967296", "resize=0", "resize", "desc_size=32", "desc_size=96", "num_backup_sb=3",
		"root_owner=1", "root_owner", "root_owner=a:b", "root_perms=888", "root_perms=17777", "quotatype=xyz", "quotatype", "encoding=latin1",
		"encoding_flags=loose", "mmp_update_interval=301", "orphan_file_size=", "hash_seed=123", "revision=2", "stride=1,bogus", "bogus=1", "lazy_itable_init=yes",
	} {
		var o Options
		err := o.ParseExtended(list)
		var oe *OptionError
		if !errors.As(err, &oe) || !errors.Is(err, ErrOption) || oe.Reason == "" {
			t.Errorf("%q: %v", list, err)
		}
	}
}

func TestOptions_ParseJournal(t *testing.T) {
	var o Options
	if err := o.ParseJournal("size=16,fast_commit_size=256,location=1000"); err != nil {
		t.Fatal(err)
	}
	if j := o.Journal; j.Size != 16<<20 || j.FastSize != 256<<10 || *j.Location != (Amount{N: 1000}) || !j.Want {
		t.Errorf("%+v", j)
	}
	if err := o.ParseJournal("size=64K,device=UUID=x,location=1G,v1_superblock"); err != nil || o.Journal.Size != 64<<10 ||
		o.Journal.DeviceName != "UUID=x" || *o.Journal.Location != (Amount{1 << 30, true}) || !o.Journal.V1 {
		t.Errorf("%v %+v", err, o.Journal)
	}
	for _, list := range []string{"size", "size=x", "size=-1", "size=99999999999999", "location", "device", "device=", "bogus", "fast_commit_size=z"} {
		var o Options
		if err := o.ParseJournal(list); !errors.Is(err, ErrOption) {
			t.Errorf("%q: %v", list, err)
		}
	}
}

func TestOptions_ParseFeatures(t *testing.T) {
	for list, want := range map[string]string{
		"":                       "has_journal ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super large_file huge_file dir_nlink extra_isize metadata_csum",
		"none,extents":           "extent",
		"none extent, ^extent":   "",
		"NONE,+uninit_groups":    "uninit_bg",
		"none,fname_encoding":    "casefold",
		"none,FEATURE_C12":       "orphan_file",
		"none,journal_dev":       "journal_dev",
		"journal_dev,quota":      "journal_dev metadata_csum",
		"none,csum_seed,-quota":  "metadata_csum_seed",
		"none,ea_inode,mmp,-mmp": "ea_inode",
	} {
		var o Options
		if err := o.ParseFeatures(list); err != nil {
			t.Errorf("%q: %v", list, err)
			continue
		}
		b := newBuilder(&o, 1<<30)
		if err := b.chooseFeatures(); err != nil || b.sb.Features.String() != want {
			t.Errorf("%q gives %q, %v", list, b.sb.Features, err)
		}
	}
	for _, list := range []string{"bogus", "^bogus", "needs_recovery", "^^extent", "compression", "read-only", "shared_blocks", "^", "dir_prealloc", "FEATURE_I30"} {
		var o Options
		if err := o.ParseFeatures(list); !errors.Is(err, ErrOption) {
			t.Errorf("%q: %v", list, err)
		}
	}
}

// TestPlan_refuses lists what cannot be made, with a word of the reason.
func TestPlan_refuses(t *testing.T) {
	for c, want := range map[mkfsCase]string{
		"-O ^extent 1G":                           "64bit",
		"-O bigalloc,^extent,^64bit 1G":           "bigalloc",
		"-O verity,^extent,^64bit 1G":             "verity",
		"-O meta_bg 1G":                           "resize_inode",
		"-O ^sparse_super 1G":                     "sparse_super",
		"-O metadata_csum_seed,^metadata_csum 1G": "metadata_csum",
		"-O orphan_file,^has_journal 1G":          "journal",
		"-O ^64bit 17T":                           "64bit",
		"-C 65536 1G":                             "bigalloc",
		"-O bigalloc -C 1000 1G":                  "cluster size",
		"-O bigalloc -C 1024 1G":                  "cluster size",
		"-G 16 -O ^flex_bg 1G":                    "flex_bg",
		"-G 3 1G":                                 "power of two",
		"-g 255 1G":                               "blocks per group",
		"-g 1001 1G":                              "blocks per group",
		"-g 40000 1G":                             "blocks per group",
		"-b 3000 1G":                              "block size",
		"-b 512 1G":                               "block size",
		"-I 64 1G":                                "inode size",
		"-I 8192 1G":                              "inode size",
		"-I 384 1G":                               "inode size",
		"-I 128 -O inline_data 1G":                "inline_data",
		"-I 128 -O project 1G":                    "project",
		"-i 100 1G":                               "inode ratio",
		"-i 100000000 1G":                         "inode ratio",
		"-N 5000000000 100G":                      "inodes",
		"-N 4000000 1G":                           "inodes",
		"-m 51 1G":                                "reserved",
		"-t ext5 1G":                              "ext5",
		"-T bogus 1G":                             "usage type",
		"-e explode 1G":                           "continue",
		"-o plan9 1G":                             "creator OS",
		"-r 0 -t ext2 -O extent 1G":               "revision 0",
		"-r 0 -t ext2 -I 256 1G":                  "revision 0",
		"-r 0 -t ext2 -J size=4 1G":               "revision 0",
		"-E resize=1000 1G":                       "resize",
		"-E desc_size=64 -O ^64bit 1G":            "64bit",
		"-E encoding_flags=strict 1G":             "casefold",
		"-J size=1 1G":                            "journal",
		"-J size=1000 1G":                         "half",
		"-o hurd -t ext2 -O metadata_csum 1G":     "Hurd",
		"-b 1024 12K":                             "few",
		"-O none,extent,bigalloc -C 536870912 -b 65536 16T": "",
	} {
		o := c.options(t)
		_, err := newPlan(o, o.Size, need{})
		switch {
		case want == "":
			if err != nil {
				t.Errorf("%s: %v", c, err)
			}
		case !errors.Is(err, ErrOption) || !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, want something of %q", c, err, want)
		}
	}
	if err := Format(context.Background(), dirty(1<<20), Options{Label: strings.Repeat("x", 20)}); err != nil {
		t.Errorf("long label: %v", err)
	}
}

func TestParseUUID(t *testing.T) {
	u, err := ParseUUID(parityUUID)
	if err != nil || disk.UUIDString(u) != parityUUID {
		t.Errorf("%x, %v", u, err)
	}
	for _, text := range []string{"", "0123", parityUUID + "0", strings.Replace(parityUUID, "-", "x", 1), strings.Replace(parityUUID, "0", "g", 1), "+1234567-89ab-cdef-0123-456789abcdef"} {
		if _, err := ParseUUID(text); !errors.Is(err, ErrOption) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
