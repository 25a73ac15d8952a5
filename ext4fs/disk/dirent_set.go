package disk

// Writers of directory records. They trust their arguments: places come from
// a walk with DirentIter, and the room was looked at. None of them touches a
// checksum; SealDirBlock and SealDX do, when the block is final.

// SetInode points the entry at another inode.
func (d Dirent) SetInode(n InodeNum) { le.PutUint32(d, uint32(n)) }

// SetType changes the file type byte.
func (d Dirent) SetType(t uint8) { d[7] = t }

// LeafEnd is where the records of a leaf block end: at the checksum record, or
// at the end of the block.
func (l DirLayout) LeafEnd() int {
	if l.Checksum {
		return l.BlockSize - DirTailSize
	}
	return l.BlockSize
}

// Need is the room that a record takes, with its hashes if the directory has
// them there.
func (l DirLayout) Need(d Dirent) int {
	return DirentSize(d.NameLen(), l.HashInDirent && !hashless(d))
}

// SetRecLen changes the length of the record at off.
func (l DirLayout) SetRecLen(block []byte, off, n int) {
	le.PutUint16(block[off+4:], DirRecLenRaw(n, l.BlockSize))
}

// PutDirent writes a record of n bytes at off. The bytes behind the name stay
// as they are but for the padding, which is zeroed.
func (l DirLayout) PutDirent(block []byte, off, n int, ino InodeNum, typ uint8, name []byte) {
	le.PutUint32(block[off:], uint32(ino))
	l.SetRecLen(block, off, n)
	block[off+6], block[off+7] = byte(len(name)), typ
	end := off + DirentHeaderSize
	end += copy(block[end:], name)
	clear(block[end : off+DirentSize(len(name), false)])
}

// InsertDirent adds an entry to the record at off, which must have the room:
// takes its place if it is unused, else the end of it. It returns where the
// entry is.
func (l DirLayout) InsertDirent(block []byte, off int, ino InodeNum, typ uint8, name []byte) int {
	d := Dirent(block[off:])
	n := DirRecLen(le.Uint16(d[4:]), l.BlockSize)
	if d.Inode() != 0 {
		used := l.Need(d)
		l.SetRecLen(block, off, used)
		off, n = off+used, n-used
	}
	l.PutDirent(block, off, n, ino, typ, name)
	return off
}

// RemoveDirent removes the entry at off. Its room goes to the record before
// it, which is at prev; the first record of a block (prev < 0) becomes an
// unused one. What was there is zeroed, as Linux does.
func (l DirLayout) RemoveDirent(block []byte, off, prev int) {
	n := DirRecLen(le.Uint16(block[off+4:]), l.BlockSize)
	if prev < 0 {
		clear(block[off : off+n])
		l.SetRecLen(block, off, n)
		return
	}
	clear(block[off : off+n])
	l.SetRecLen(block, prev, DirRecLen(le.Uint16(block[prev+4:]), l.BlockSize)+n)
}

// InitLeaf makes a block of zeros a leaf without entries.
func (l DirLayout) InitLeaf(block []byte) {
	l.SetRecLen(block, 0, l.LeafEnd())
	if l.Checksum {
		InitDirTail(block)
	}
}

// InitDots writes "." and ".." to the start of a block; the record of ".."
// reaches to end. typ is FileTypeDir, or 0 without the filetype feature.
func (l DirLayout) InitDots(block []byte, self, parent InodeNum, typ uint8, end int) {
	l.PutDirent(block, 0, DirentMinSize, self, typ, []byte{'.'})
	l.PutDirent(block, DirentMinSize, end-DirentMinSize, parent, typ, []byte{'.', '.'})
}

// InitDXRoot makes a block of zeros a root that points to one leaf.
func (l DirLayout) InitDXRoot(block []byte, self, parent InodeNum, typ uint8, hash HashVersion, leaf LogicalNum) {
	l.InitDots(block, self, parent, typ, l.BlockSize)
	DXInfo{Hash: hash, InfoLength: DXInfoSize}.Encode(block)
	const off = DXInfoOffset + DXInfoSize
	l.setDXCount(block, off, 1)
	le.PutUint32(block[off+4:], uint32(leaf))
}

// InitDXNode makes a block of zeros a node with count entries, which are
// copied from those of another index block. The key of the first is lost.
func (l DirLayout) InitDXNode(block []byte, entries DXEntries, count int) {
	l.SetRecLen(block, 0, l.BlockSize)
	copy(block[DXNodeOffset:], entries[:count*DXEntrySize])
	l.setDXCount(block, DXNodeOffset, count)
}

func (l DirLayout) setDXCount(block []byte, off, count int) {
	le.PutUint16(block[off:], uint16(l.DXLimit(off)))
	le.PutUint16(block[off+2:], uint16(count))
}

// InsertDX adds an entry behind entry at of the index block whose array begins
// at off. The array must have room.
func InsertDX(block []byte, off, at int, key uint32, child LogicalNum) {
	count := int(le.Uint16(block[off+2:]))
	p := off + (at+1)*DXEntrySize
	end := off + count*DXEntrySize
	copy(block[p+DXEntrySize:end+DXEntrySize], block[p:end])
	le.PutUint32(block[p:], key)
	le.PutUint32(block[p+4:], uint32(child))
	le.PutUint16(block[off+2:], uint16(count+1))
}

// CutDX drops the entries from count on, and zeroes them.
func CutDX(block []byte, off, count int) {
	old := int(le.Uint16(block[off+2:]))
	clear(block[off+count*DXEntrySize : off+old*DXEntrySize])
	le.PutUint16(block[off+2:], uint16(count))
}

// SetDXBlock points entry at to another block.
func SetDXBlock(block []byte, off, at int, child LogicalNum) {
	le.PutUint32(block[off+at*DXEntrySize+4:], uint32(child))
}
