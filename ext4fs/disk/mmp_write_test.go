package disk

import (
	"bytes"
	"strings"
	"testing"
)

func TestMMP_roundTrip(t *testing.T) {
	b := bytes.Repeat([]byte{0xaa}, MMPSize)
	m := MMP{Magic: MMPMagic, Seq: 7, Time: 1 << 33, Node: strings.Repeat("n", 64), Device: "sda1", CheckInterval: 300}
	m.Encode(b)
	SealMMP(5, b)
	var got MMP
	if err := got.Decode(b); err != nil {
		t.Fatal(err)
	}
	stored, computed := VerifyMMP(5, b)
	m.Checksum = computed
	if got != m || stored != computed {
		t.Errorf("%+v", got)
	}
	if !bytes.Equal(b[0x72:0x3fc], bytes.Repeat([]byte{0xaa}, 0x3fc-0x72)) {
		t.Error("unknown bytes changed")
	}
	m.Node, m.Device = strings.Repeat("x", 100), strings.Repeat("y", 40)
	m.Encode(b)
	if err := got.Decode(b); err != nil || got.Node != m.Node[:64] || got.Device != m.Device[:32] {
		t.Errorf("%+v, %v", got, err)
	}
}
