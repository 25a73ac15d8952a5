package dir

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

func TestNoKeyName(t *testing.T) {
	raw := func(n int) []byte { return bytes.Repeat([]byte{0xab}, n) }
	tests := []struct {
		n           int
		hash, minor uint32
		length      int
		prefix      string
	}{
		{16, 0x04030201, 0x08070605, 32, "AQIDBAUGBwir"},
		{16, 0, 0x08070605, 32, "AAAAAAAAAACr"}, // an unknown hash has no minor hash
		{149, 2, 0, 210, "AgAAAAAAAACr"},
		{150, 2, 0, 252, "AgAAAAAAAACr"},
		{255, 2, 0, 252, "AgAAAAAAAACr"},
	}
	for _, tt := range tests {
		name := NoKeyName(raw(tt.n), tt.hash, tt.minor)
		if len(name) != tt.length || !strings.HasPrefix(name, tt.prefix) {
			t.Errorf("%+v: %q of %d characters", tt, name, len(name))
		}
		var buf [noKeyMax]byte
		k, ok := decodeNoKey([]byte(name), &buf)
		if !ok || k.hash != tt.hash || !k.match(raw(tt.n)) || k.match(raw(tt.n+1)) || k.match(raw(tt.n-1)) || k.match(bytes.Repeat([]byte{0xac}, tt.n)) {
			t.Errorf("%+v: decoded as %+v, %v", tt, k, ok)
		}
	}
}

func TestDecodeNoKey_refuses(t *testing.T) {
	good := NoKeyName(bytes.Repeat([]byte("x"), 16), 2, 3)
	var buf [noKeyMax]byte
	for _, s := range []string{"", "plain name", "README", good + "=", good[:len(good)-1] + "\n", good + "\r\n", "+" + good[1:],
		NoKeyName(nil, 2, 3), good[:5], strings.Repeat("A", 211), strings.Repeat("A", 251), strings.Repeat("A", 253), good + "B"} {
		if k, ok := decodeNoKey([]byte(s), &buf); ok {
			t.Errorf("%q is decoded as %+v", s, k)
		}
	}
}

func TestEncrypted(t *testing.T) {
	var list []name
	for i := range 110 {
		s := strings.Repeat(string(rune('a'+i%26)), 16+i*2) + "\x00/" + string(rune('0'+i%10))
		list = append(list, name{inode: disk.InodeNum(100 + i), text: s, hash: uint32(0x10000000+i*0x01000000) &^ 1, minor: uint32(i)})
	}
	for _, fold := range []bool{false, true} {
		for _, indexed := range []bool{false, true} {
			d := newDirectory(2048)
			d.Encrypted, d.Casefold = true, fold
			list := slices.Clone(list)
			if !fold {
				for i := range list {
					list[i].hash = 0
				}
			}
			if indexed {
				d.tree(list, 1, 4, 10)
			} else {
				d.linear(list, 4)
			}
			c := d.open()
			for e := range c.Entries() {
				shown := c.DisplayName(e)
				if isDots(e.Name) {
					if shown != string(e.Name) || e.Hash != 0 {
						t.Errorf("%q is shown as %q", e.Name, shown)
					}
				} else if (e.Hash != 0) != (fold || indexed) {
					t.Errorf("fold %v, indexed %v: %q has hash %#x", fold, indexed, shown, e.Hash)
				}
				got, err := c.Lookup([]byte(shown))
				if err != nil || got.Inode != e.Inode || got.Hash != e.Hash {
					t.Errorf("fold %v, indexed %v: Lookup(%q): %v, %v", fold, indexed, shown, got.Inode, err)
				}
			}
			// The ciphertext itself is not a name.
			if _, err := c.Lookup([]byte(list[0].text)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("ciphertext: %v", err)
			}
			checkResume(t, c, len(list)+2)
		}
	}
}
