package disk

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func verityExample() VerityDescriptor {
	return VerityDescriptor{
		Algorithm: VeritySHA256, LogBlockSize: 12, DataSize: 0x123456789a,
		RootHash: bytes.Repeat([]byte{7}, 32), Salt: []byte("salty"), Signature: []byte("signed"),
	}
}

func TestVerityDescriptor_roundTrip(t *testing.T) {
	d := verityExample()
	b := make([]byte, VeritySize+6)
	d.Encode(b)
	if le.Uint32(b[4:]) != 6 || string(b[VeritySize:]) != "signed" || string(b[0x50:0x55]) != "salty" {
		t.Errorf("encoded %x", b)
	}
	var got VerityDescriptor
	if err := got.Decode(b); err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("%+v, %v", got, err)
	}
	h := d.Hashed()
	if len(h) != VeritySize || le.Uint32(h[4:]) != 0 || !bytes.Equal(h[8:], b[8:VeritySize]) {
		t.Errorf("hashed form %x", h)
	}
}

func TestVerityDescriptor_refuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(b []byte) []byte
	}{
		{"short", func(b []byte) []byte { return b[:255] }},
		{"long", func(b []byte) []byte { return append(b, make([]byte, MaxVeritySize)...) }},
		{"version", func(b []byte) []byte { b[0] = 2; return b }},
		{"algorithm", func(b []byte) []byte { b[1] = 3; return b }},
		{"small blocks", func(b []byte) []byte { b[2] = 9; return b }},
		{"large blocks", func(b []byte) []byte { b[2] = 17; return b }},
		{"salt", func(b []byte) []byte { b[3] = 33; return b }},
		{"signature", func(b []byte) []byte { b[4] = 7; return b }},
		{"reserved", func(b []byte) []byte { b[0x70] = 1; return b }},
		{"reserved end", func(b []byte) []byte { b[0xff] = 1; return b }},
	} {
		b := make([]byte, VeritySize+6)
		d := verityExample()
		d.Encode(b)
		var got VerityDescriptor
		if err := got.Decode(tt.change(b)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func FuzzVerityDescriptor(f *testing.F) {
	b := make([]byte, VeritySize+6)
	d := verityExample()
	d.Encode(b)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var d VerityDescriptor
		if d.Decode(b) != nil {
			return
		}
		again := make([]byte, VeritySize+len(d.Signature))
		d.Encode(again)
		var e VerityDescriptor
		if err := e.Decode(again); err != nil || !reflect.DeepEqual(d, e) {
			t.Errorf("%+v becomes %+v, %v", d, e, err)
		}
	})
}
