package disk

import "testing"

func TestInitOrphanBlock(t *testing.T) {
	b := make([]byte, 1024)
	b[5] = 7
	InitOrphanBlock(b)
	SealOrphanBlock(3, 99, b)
	o := OrphanBlock(b)
	stored, sum := o.Checksum(3, 99)
	if o.Magic() != OrphanBlockMagic || stored != sum || o.Slots() != 254 {
		t.Errorf("magic %x, checksum %x and %x, %d slots", o.Magic(), stored, sum, o.Slots())
	}
	for n := range o.Slots() {
		if o.Slot(n) != 0 {
			t.Errorf("slot %d is not free", n)
		}
	}
}
