package disk

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The bytes that mke2fs writes for a user quota file's head, and an entry in
// the form of the format's description.
func TestQuota_golden(t *testing.T) {
	head := make([]byte, QuotaBlockSize)
	QuotaInfo(head).Init(QuotaUser)
	want, _ := hex.DecodeString("111fc0d901000000803a0900803a090000000000020000000000000000000000")
	if !bytes.Equal(head[:QuotaInfoSize], want) {
		t.Errorf("head %x", head[:QuotaInfoSize])
	}
	e := QuotaEntry{ID: 0x01020304, InodeHard: 5, InodeSoft: 6, Inodes: 7, SpaceHard: 8, SpaceSoft: 9, Space: 10, SpaceTime: 11, InodeTime: 12}
	var b [QuotaEntrySize]byte
	e.Encode(b[:])
	want, _ = hex.DecodeString("0403020100000000" + "0500000000000000" + "0600000000000000" + "0700000000000000" +
		"0800000000000000" + "0900000000000000" + "0a00000000000000" + "0b00000000000000" + "0c00000000000000")
	if !bytes.Equal(b[:], want) {
		t.Errorf("entry %x", b)
	}
	if got := DecodeQuotaEntry(b[:]); got != e {
		t.Errorf("%+v", got)
	}
}

func TestQuotaEntry_zeroIsNotFree(t *testing.T) {
	b := make([]byte, QuotaEntrySize)
	if !QuotaEntryFree(b) {
		t.Error("zeros are not free")
	}
	(QuotaEntry{}).Encode(b)
	if QuotaEntryFree(b) || DecodeQuotaEntry(b) != (QuotaEntry{}) {
		t.Errorf("%x", b)
	}
}

func TestQuotaIndex(t *testing.T) {
	for depth, want := range []int{0x12, 0x34, 0x56, 0x78} {
		if got := QuotaIndex(0x12345678, depth); got != want {
			t.Errorf("depth %d: 0x%x", depth, got)
		}
	}
	if end := QuotaDataHeader + QuotaEntries*QuotaEntrySize; end != QuotaBlockSize {
		t.Errorf("data block of %d bytes", end)
	}
}

func TestSuperblock_quotaInode(t *testing.T) {
	s := &Superblock{UserQuotaInode: 3, GroupQuotaInode: 4, ProjectQuotaInode: 12}
	if s.QuotaInode(QuotaUser) != 0 {
		t.Error("without the feature")
	}
	s.Features.ROCompat = ROCompatQuota
	if s.QuotaInode(QuotaUser) != 3 || s.QuotaInode(QuotaGroup) != 4 || s.QuotaInode(QuotaProject) != 0 {
		t.Error("with quota")
	}
	s.Features.ROCompat |= ROCompatProject
	if s.QuotaInode(QuotaProject) != 12 || s.QuotaInode(QuotaKinds) != 0 {
		t.Error("with project")
	}
}
