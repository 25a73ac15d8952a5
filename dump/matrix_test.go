package dump

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs"
	"github.com/e4kit/e4kit/testimages"
)

// badFormat is what fmt writes of a wrong verb.
var badFormat = regexp.MustCompile(`%!.?\(`)

// moreCases are images whose structures are shown in other ways than those of
// oracleCases, but that the tools do not show in a form to compare with.
var moreCases = []string{
	"ext2-plain", "quota-project", "shared-blocks", "huge-file", "no-huge-file", "inode-512", "inode-4096",
	"inline-data-1k", "ea-inode-1k", "encrypt", "casefold", "verity", "hash-half_md4-signed", "index-nocsum", "full",
}

// TestMatrix_showsNoTrouble dumps everything of images: they are undamaged, so
// no checksum may be bad and nothing a problem.
func TestMatrix_showsNoTrouble(t *testing.T) {
	for _, name := range slices.Concat(oracleCases, moreCases) {
		t.Run(name, func(t *testing.T) {
			im := openImage(t, testimages.Build(t, testimages.Find(t, name)), ext4fs.Options{})
			if notes := im.Notes(); len(notes) > 0 {
				t.Errorf("notes: %q", notes)
			}
			count := 0
			visit := func(v Value) {
				// What is left in the log from earlier is not judged.
				if r, ok := v.(*JournalRecord); ok && r.State != "live" {
					return
				}
				for _, s := range trouble(t, v) {
					if count++; count < 20 {
						t.Errorf("%T: %s", v, s)
					}
				}
				if b, ok := v.(*Block); ok {
					b.Data = nil // random bytes may look like a formatting error
				}
				if text := textOf(t, v); badFormat.MatchString(text) || strings.ContainsRune(text, 0x1b) {
					t.Errorf("%T: bad text: %.200q", v, text)
				}
			}
			everything(context.Background(), im, bounds{3000, 500}, visit, func(err error) {
				if err != ErrNoJournal {
					t.Error(err)
				}
			})
		})
	}
}
