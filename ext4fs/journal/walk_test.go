package journal

import (
	"errors"
	"reflect"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// show writes a walk down, a line per record.
func show(l Log, bs int) (lines []string, blocks uint32) {
	for r, err := range Walk(l, bs) {
		blocks += r.Count
		line := name("%d+%d %v %d %v", r.Block, r.Count, r.Type, r.Sequence, r.State)
		if r.Type == 0 {
			line = name("%d+%d nothing", r.Block, r.Count)
		}
		if !r.ChecksumOK() {
			line += " bad"
		}
		for _, tag := range r.Tags {
			line += name(" %d@%d", tag.Home, tag.LogBlock)
			if tag.Overwritten {
				line += "-gone"
			}
			if !tag.ChecksumOK() {
				line += "-bad"
			}
		}
		if len(r.Revokes) > 0 {
			line += name(" %v", r.Revokes)
		}
		if err != nil {
			line += " error"
		}
		lines = append(lines, line)
	}
	return lines, blocks
}

func TestWalk(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			s := newSynth(t, k, 1024, 21, 16, 4)
			s.next = 5
			s.id = 2
			s.commit([]write{{7, fill(1024, 1)}, {8, fill(1024, 3)}, {9, fill(1024, 1)}}, nil) // 5 to 9, old
			s.commit([]write{{6, fill(1024, 1)}}, nil)                                         // 10 to 12, old
			s.next = 16
			s.commit([]write{{7, fill(1024, 1)}, {8, fill(1024, 3)}}, []disk.BlockNum{9, 10}) // 16 to 20
			s.commit([]write{{7, fill(1024, 1)}}, nil)                                        // 1 to 3
			p := s.commit([]write{{8, fill(1024, 1)}, {9, fill(1024, 1)}}, nil)               // 4 to 7
			clear(s.log.block(p.commit))
			lines, blocks := show(s.log, 1024)
			want := []string{
				"16+1 revoke 4 live [9 10]",
				"17+3 descriptor 4 live 7@18 8@19",
				"20+1 commit 4 live",
				"1+2 descriptor 5 live 7@2",
				"3+1 commit 5 live",
				"4+3 descriptor 6 open 8@5 9@6",
				"7+2 nothing",
				"9+1 commit 2 old",
				"10+2 descriptor 3 old 6@11",
				"12+1 commit 3 old",
				"13+3 nothing",
			}
			if blocks != 20 || !reflect.DeepEqual(lines, want) {
				t.Errorf("%d blocks:\n%q, want\n%q", blocks, lines, want)
			}
		})
	}
}

func TestWalk_damage(t *testing.T) {
	s, p := threeTransactions(t, kinds[6])
	s.log.block(p[5].data[1])[7] ^= 1
	s.log.block(p[6].descriptor[0])[900] ^= 1
	s.log.block(p[6].commit)[0x10] ^= 1
	b := s.log.block(p[7].revoke[0])
	b[disk.JournalHeaderSize+1] = 1
	s.log.block(p[7].descriptor[0])[7] = 9
	s.log.bad = map[uint32]bool{p[7].commit: true}
	lines, blocks := show(s.log, 1024)
	want := []string{
		"90+1 revoke 5 live [300]",
		"91+3 descriptor 5 live 5@92 1@93-bad",
		"94+1 commit 5 live",
		"95+1 revoke 6 open [300]",
		"96+3 descriptor 6 open bad 6@97 1@98",
		"99+1 commit 6 open bad",
		"1+1 revoke 7 old bad error",
		"2+1 unknown 7 old error",
		"3+2 nothing",
		"5+1 nothing error",
		"6+84 nothing",
	}
	if blocks != 99 || !reflect.DeepEqual(lines, want) {
		t.Errorf("%d blocks:\n%q, want\n%q", blocks, lines, want)
	}
}

// An old descriptor whose data a later lap has overwritten in part.
func TestWalk_overwritten(t *testing.T) {
	s := newSynth(t, kinds[1], 1024, 21, 12, 9)
	s.sb.Start = 0
	s.super()
	s.id, s.next = 1, 1
	s.commit([]write{{7, fill(1024, 1)}, {8, fill(1024, 1)}, {9, fill(1024, 1)}, {10, fill(1024, 1)}}, nil) // 1 to 6
	s.id, s.next = 9, 4
	s.commit([]write{{11, fill(1024, 1)}}, nil) // 4 to 6
	lines, blocks := show(s.log, 1024)
	want := []string{
		"1+3 descriptor 1 old 7@2 8@3 9@4-gone 10@5-gone",
		"4+2 descriptor 9 old 11@5",
		"6+1 commit 9 old",
		"7+14 nothing",
	}
	if blocks != 20 || !reflect.DeepEqual(lines, want) {
		t.Errorf("%d blocks:\n%q, want\n%q", blocks, lines, want)
	}
}

func TestWalk_transactionChecksum(t *testing.T) {
	s, p := threeTransactions(t, kinds[2])
	s.log.block(p[7].data[0])[9] ^= 1
	var good []bool
	for r, err := range Walk(s.log, 1024) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Commit != nil {
			good = append(good, r.HasChecksum && r.ChecksumOK())
		}
	}
	if !reflect.DeepEqual(good, []bool{true, true, false}) {
		t.Errorf("commit blocks good: %v", good)
	}
}

func TestWalk_stops(t *testing.T) {
	s, _ := threeTransactions(t, kinds[6])
	n := 0
	for range Walk(s.log, 1024) {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d records", n)
	}
	clear(s.log.block(0))
	for _, err := range Walk(s.log, 1024) {
		if !errors.Is(err, disk.ErrCorrupt) {
			t.Errorf("no superblock: %v", err)
		}
	}
}
