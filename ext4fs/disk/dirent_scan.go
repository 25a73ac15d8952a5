package disk

// DirScan is what a look at all records of a block has found. Places are
// offsets, -1 for none.
type DirScan struct {
	Sound bool // every record is possible; else the rest says nothing
	Found int  // the entry of the name
	Prev  int  // the record before it
	Room  int  // the first record with the room that was asked for
	Last  int  // the last record
	End   int  // where the records end
	Used  int  // bytes that the entries need
}

// Scan is the fast way to look a name up, and for need bytes of room, which
// the first skip records do not give: one pass without a call for each record.
// With stop it ends at the name, and does not know what comes behind. Where it
// gives up, for records that DirentIter refuses and those with hashes in them,
// Sound is false, and DirentIter tells.
func (l DirLayout) Scan(block, name []byte, need, skip int, stop bool) DirScan {
	s := DirScan{Found: -1, Prev: -1, Room: -1, Last: -1}
	if l.HashInDirent || l.BlockSize > 1<<15 || len(block) > l.BlockSize {
		return s
	}
	tail := len(block)
	if l.Checksum && HasDirTail(block) {
		tail -= DirTailSize
	}
	// Most names of a directory are of a kind: they differ in their ends.
	var end4 uint32
	long := len(name) >= 4
	if long {
		end4 = le.Uint32(name[len(name)-4:])
	}
	for off := 0; off < len(block) && off != tail; {
		b := block[off:]
		if len(b) < DirentMinSize {
			return s
		}
		head := le.Uint64(b)
		n, length := int(uint16(head>>32)), int(uint8(head>>48))
		if n < DirentMinSize || n&3 != 0 || n < DirentHeaderSize+length || n > len(b) || uint(len(b)-n-1) < DirentMinSize-1 {
			return s
		}
		free := n
		if uint32(head) != 0 {
			if length == len(name) && (!long || le.Uint32(b[length+4:]) == end4) &&
				string(b[DirentHeaderSize:DirentHeaderSize+length]) == string(name) && s.Found < 0 {
				s.Found, s.Prev = off, s.Last
				if stop {
					s.Sound = true
					return s
				}
			}
			used := (DirentHeaderSize + length + 3) &^ 3
			s.Used += used
			free -= used
		}
		if free >= need && s.Room < 0 {
			if skip <= 0 {
				s.Room = off
			}
		}
		skip--
		s.Last = off
		off += n
		s.End = off
	}
	s.Sound = true
	return s
}
