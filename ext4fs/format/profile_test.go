package format

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

var updateProfiles = flag.Bool("update-profiles", false, "write the table of PROFILES.md anew")

const (
	tableBegin = "<!-- table: made from profile.go by TestProfiles_document -update-profiles -->\n"
	tableEnd   = "<!-- end of table -->\n"
)

// profileTable is the table of PROFILES.md.
func profileTable() string {
	var b strings.Builder
	b.WriteString("| profile | reader | type | does not understand | defaults besides | blocks up to | note | source |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|\n")
	for _, p := range Profiles() {
		access := "reads"
		if p.Writes {
			access = "reads and writes"
		}
		note := p.Note
		if p.InodeSize != 0 && !strings.Contains(note, "inodes of") {
			note = strings.TrimPrefix(note+fmt.Sprintf("; inodes of %d bytes", p.InodeSize), "; ")
		}
		fmt.Fprintf(&b, "| %s | %s; %s | %s | %s | %s | %d | %s | %s |\n", p.Name, p.Reader, access, p.Type,
			strings.Join(p.Lacks(), " "), strings.ReplaceAll(p.Defaults, ",", " "), p.MaxBlockSize, note, p.Source)
	}
	return b.String()
}

// TestProfiles_document holds the table that people read equal to the code.
func TestProfiles_document(t *testing.T) {
	data, err := os.ReadFile("PROFILES.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), tableBegin)
	got, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatal("PROFILES.md has no table between its marks")
	}
	want := profileTable()
	if *updateProfiles {
		if err := os.WriteFile("PROFILES.md", []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("the table of PROFILES.md is not that of profile.go; run with -update-profiles\nwant:\n%s", want)
	}
}

// TestProfiles_words: what a profile makes of the defaults of its type is what
// its reader understands, and every row is complete.
func TestProfiles_words(t *testing.T) {
	types := map[string]string{
		"ext3": "has_journal ext_attr resize_inode dir_index filetype sparse_super large_file",
		"ext4": "has_journal ext_attr resize_inode dir_index orphan_file filetype extent 64bit flex_bg metadata_csum_seed " +
			"sparse_super large_file huge_file dir_nlink extra_isize metadata_csum",
	}
	for _, p := range Profiles() {
		if p.Name == "" || p.Reader == "" || p.Source == "" || p.MaxBlockSize < 1024 {
			t.Errorf("%s: the row is not complete", p.Name)
		}
		base, err := disk.ParseFeatures(types[p.Type], disk.Features{})
		if err != nil || base == (disk.Features{}) {
			t.Fatalf("%s: %v", p.Name, err)
		}
		f, err := disk.ParseFeatures(p.Words(), base)
		if err != nil {
			t.Errorf("%s: %q: %v", p.Name, p.Words(), err)
		}
		if unknown := p.Unknown(f).Names(); len(unknown) > 0 {
			t.Errorf("%s: %q leaves %v", p.Name, p.Words(), unknown)
		}
		if f.ROCompat&(disk.ROCompatGDTCsum|disk.ROCompatMetadataCsum) == disk.ROCompatGDTCsum|disk.ROCompatMetadataCsum {
			t.Errorf("%s: %q leaves both uninit_bg and metadata_csum", p.Name, p.Words())
		}
		if f.Incompat.Has(disk.IncompatCsumSeed) && !f.ROCompat.Has(disk.ROCompatMetadataCsum) {
			t.Errorf("%s: %q leaves metadata_csum_seed without metadata_csum", p.Name, p.Words())
		}
		if !p.Writes && p.Features.ROCompat&roExt3 != roExt3 {
			t.Errorf("%s: a reader that does not write cares for read-only compatible features", p.Name)
		}
	}
}

func TestFindProfile(t *testing.T) {
	for name, want := range map[string]string{"grub": "grub", "UBOOT": "u-boot", "extlinux": "syslinux", "linux-6": "linux-6.x"} {
		p, err := FindProfile(name)
		if err != nil || p.Name != want {
			t.Errorf("%s: %v %v", name, p, err)
		}
	}
	for alias, name := range profileAliases {
		if p, err := FindProfile(alias); err != nil || p.Name != name {
			t.Errorf("alias %s leads nowhere: %v", alias, err)
		}
	}
	if _, err := FindProfile("lilo"); err == nil || !strings.Contains(err.Error(), "u-boot") {
		t.Errorf("lilo: %v", err)
	}
}

func TestProfile_check(t *testing.T) {
	p, err := FindProfile("grub")
	if err != nil {
		t.Fatal(err)
	}
	sb := &disk.Superblock{LogBlockSize: 2}
	sb.Features = disk.Features{Incompat: disk.IncompatFiletype | disk.IncompatExtents, ROCompat: disk.ROCompatVerity}
	if err := p.Check(sb); err != nil {
		t.Error(err)
	}
	sb.LogBlockSize = 4
	if err := p.Check(sb); err == nil || !strings.Contains(err.Error(), "16384") {
		t.Error(err)
	}
	sb.LogBlockSize = 2
	sb.Features.Incompat |= disk.IncompatInlineData | disk.IncompatCsumSeed
	if err := p.Check(sb); err == nil || !strings.Contains(err.Error(), "metadata_csum_seed, inline_data") {
		t.Error(err)
	}
}
