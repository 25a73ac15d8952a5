package format

// JournalSize is the size of the journal inside the file system in bytes, 0 if
// there is none.
func (j *Job) JournalSize() int64 {
	p := j.m.p
	return int64(p.journal.blocks) * int64(p.sb.BlockSize())
}
