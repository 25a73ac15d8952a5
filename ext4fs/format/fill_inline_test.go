package format

import "testing"

// The content of inline files lies one after the other, whatever chunk their
// records are in.
func TestContent_addInline(t *testing.T) {
	const n = 2*inlineChunk + 3
	c := &content{aux: make([]uint32, n)}
	want := make([]int64, n)
	for i := range uint32(n) {
		c.aux[i] = inlineBit | i
		want[i] = c.inlineBytes
		c.addInline(i, 65535-int64(i%7))
	}
	if c.inlineBytes <= 1<<32 {
		t.Fatal("the test has no offset beyond 32 bits")
	}
	for i := range uint32(n) {
		if got := c.inlineOffset(i); got != want[i] || c.inline[i].place != i {
			t.Fatalf("file %d is at %d, not %d", i, got, want[i])
		}
	}
}
