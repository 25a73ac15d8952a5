package disk

import "testing"

func TestSums_knownVectors(t *testing.T) {
	check := []byte("123456789")
	if got := Sum(^uint32(0), check) ^ ^uint32(0); got != 0xE3069283 {
		t.Errorf("CRC-32C = %08x", got)
	}
	if got := CRC16(0xffff, check); got != 0x4B37 {
		t.Errorf("CRC-16 = %04x", got)
	}
	// CRC-32/MPEG-2: the same polynomial and order, no complement at the end.
	if got := CRC32BE(^uint32(0), check); got != 0x0376E6E7 {
		t.Errorf("CRC-32 BE = %08x", got)
	}
}

func TestSum_extends(t *testing.T) {
	b := []byte("a sum over two pieces is the sum over both")
	if whole, parts := Sum(7, b), Sum(Sum(7, b[:11]), b[11:]); whole != parts {
		t.Errorf("whole %08x, pieces %08x", whole, parts)
	}
	if got, want := SumUint32(1, 0x04030201), Sum(1, []byte{1, 2, 3, 4}); got != want {
		t.Errorf("SumUint32 = %08x, want %08x", got, want)
	}
	if got, want := SumUint64(1, 0x0807060504030201), Sum(1, []byte{1, 2, 3, 4, 5, 6, 7, 8}); got != want {
		t.Errorf("SumUint64 = %08x, want %08x", got, want)
	}
}
