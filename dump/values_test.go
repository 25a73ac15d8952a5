package dump

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

// printedByHand are the fields that a type's WriteText prints itself.
var printedByHand = map[string][]string{
	"Group":         {"group", "bitmaps"},
	"Inode":         {"mode", "target_base64", "extent_root", "xattrs"},
	"ExtentNode":    {"block", "leaves", "indexes"},
	"XattrSet":      {"entries"},
	"DirBlock":      {"inode", "logical", "block", "entries"},
	"HtreeBlock":    {"inode", "kind", "root", "entries", "leaf"},
	"Bitmap":        {},
	"Backup":        {"superblock", "differences"},
	"FreeSpace":     {"histogram"},
	"Orphans":       {"list", "blocks"},
	"Block":         {"content", "data"},
	"ExtentSummary": {"histogram", "worst"},
	"JournalSuper":  {},
	"FastRecord":    {"log_block", "offset", "length", "tag", "extent", "removed", "problem"},
}

// TestText_hasAllThatJSONHas: a field that is marshalled has a label in the
// text, or is printed by hand.
func TestText_hasAllThatJSONHas(t *testing.T) {
	for _, v := range []any{Super{}, Group{}, GroupBitmaps{}, Bitmap{}, Inode{}, ExtentNode{}, XattrSet{}, DirBlock{},
		HtreeBlock{}, HtreeRoot{}, JournalSuper{}, FastRecord{}, JournalBlock{}, MMP{}, Orphans{}, Backup{}, FreeSpace{}, Block{},
		ExtentSummary{}} {
		checkFields(t, reflect.TypeOf(v), printedByHand[reflect.TypeOf(v).Name()])
	}
}

func checkFields(t *testing.T, typ reflect.Type, byHand []string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Anonymous {
			checkFields(t, f.Type, byHand)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		_, labelled := f.Tag.Lookup("text")
		switch {
		case !f.IsExported():
		case name == "":
			t.Errorf("%s.%s has no JSON name", typ, f.Name)
		case !labelled && name != "type" && name != "problems" && !slices.Contains(byHand, name):
			t.Errorf("%s.%s (%s) is not in the text", typ, f.Name, name)
		}
		if label := f.Tag.Get("text"); strings.Contains(strings.TrimSuffix(strings.TrimSuffix(label, ",omitempty"), ",hex"), ",") {
			t.Errorf("%s.%s: a comma in the label %q", typ, f.Name, label)
		}
	}
}

func TestAppendExtentJSON_isWhatMarshalGives(t *testing.T) {
	for _, path := range []string{"", "/a b", `/q"uo\te`, "/new\nline\t\x01", "/\u2028é<&>", "/bad\xff\xfe"} {
		for _, e := range []extent.Extent{
			{Logical: 0, Physical: 1 << 40, Len: 32768},
			{Logical: 4294967294, Physical: 7, Len: 1, Flags: extent.FlagUnwritten},
			{Logical: 5, Len: 9, Flags: extent.FlagHole},
			{Len: 1, Flags: extent.FlagInline},
		} {
			var want strings.Builder
			enc := json.NewEncoder(&want)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(NewExtent(12, path, e)); err != nil {
				t.Fatal(err)
			}
			var member []byte
			if path != "" {
				member = AppendPathJSON(nil, []byte(path))
			}
			if got := string(AppendExtentJSON(nil, 12, member, e)); got != want.String() {
				t.Errorf("%q %v:\n got %s\nwant %s", path, e, got, want.String())
			}
		}
	}
}

func TestFragments_countsPieces(t *testing.T) {
	run := func(logical, physical, n int) extent.Extent {
		return extent.Extent{Logical: disk.LogicalNum(logical), Physical: disk.BlockNum(physical), Len: uint32(n)}
	}
	for _, c := range []struct {
		name string
		runs []extent.Extent
		want uint64
	}{
		{"nothing", nil, 0},
		{"one", []extent.Extent{run(0, 10, 5)}, 1},
		{"two that touch", []extent.Extent{run(0, 10, 5), run(5, 15, 5)}, 1},
		{"a gap", []extent.Extent{run(0, 10, 5), run(5, 16, 5)}, 2},
		{"backwards", []extent.Extent{run(0, 10, 5), run(5, 5, 5)}, 2},
		{"a hole with its room left free", []extent.Extent{run(0, 10, 5), run(8, 18, 5)}, 1},
		{"a hole without", []extent.Extent{run(0, 10, 5), run(8, 15, 5)}, 1},
		{"a hole and a gap", []extent.Extent{run(0, 10, 5), run(8, 30, 5)}, 2},
	} {
		var f Fragments
		for _, e := range c.runs {
			f.Add(e)
		}
		if f.Pieces != c.want {
			t.Errorf("%s: %d pieces, want %d", c.name, f.Pieces, c.want)
		}
	}
}

func TestName_keepsBytesThatAreNoText(t *testing.T) {
	n := newName([]byte("a\xff\x1bb"))
	if n.Text != "a\\xff\x1bb" || n.Base64 != "Yf8bYg==" {
		t.Errorf("%q %q", n.Text, n.Base64)
	}
	if got := n.String(); got != `a\xff\x1bb` {
		t.Errorf("text %q", got)
	}
	if n := newName([]byte("né")); n.Base64 != "" || n.String() != "né" {
		t.Errorf("%+v", n)
	}
}

func TestChecksum_words(t *testing.T) {
	for _, c := range []struct {
		sum  Checksum
		want string
	}{
		{newChecksum(false, 1, 2), "none"},
		{newChecksum(true, 0x12, 0x12), "good 0x00000012"},
		{newChecksum(true, 0x12, 0x13), "BAD: stored 0x00000012, computed 0x00000013"},
		{unknownChecksum(true, 0x12), "0x00000012 (whose is not known)"},
		{unknownChecksum(false, 0x12), "none"},
		{missingChecksum(), "bad (there is no place for it)"},
	} {
		if got := c.sum.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestMap_countsEveryBlockOnce(t *testing.T) {
	im := openDemo(t)
	for _, c := range []struct {
		row     uint64
		columns int
	}{{6144, 500}, {1000, 7}, {1, 1}, {6143, 4096}, {1 << 40, 100}, {17, 100}} {
		m, err := im.Map(t.Context(), c.row, c.columns, nil)
		if err != nil {
			t.Fatal(err)
		}
		free, err := im.FreeSpace(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Total.Blocks != im.super.Blocks() || m.Total.Free != free.FreeBlocks {
			t.Errorf("%+v: %d blocks, %d free; want %d and %d", c, m.Total.Blocks, m.Total.Free, im.super.Blocks(), free.FreeBlocks)
		}
		for i, cell := range m.Cells {
			if cell.Free+cell.Meta+cell.Journal > cell.Blocks {
				t.Fatalf("%+v: cell %d: %+v", c, i, cell)
			}
		}
	}
}
