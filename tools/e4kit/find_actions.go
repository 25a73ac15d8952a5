package main

// Actions print. An error of the output ends the walk by way of finder.err.

func (f *finder) print(s *subject, end byte) bool {
	if f.e.json {
		return f.printJSON(s)
	}
	w := f.e.writer()
	if end == 0 {
		w.WriteString(s.path)
	} else {
		w.WriteString(f.e.shown(s.path))
	}
	f.ended(w.WriteByte(end))
	return true
}

func (f *finder) ended(err error) {
	if err == nil {
		err = f.e.endLine()
	}
	if f.err == nil {
		f.err = err
	}
}

func (f *finder) printJSON(s *subject) bool {
	if s.inode == nil {
		return true
	}
	r := newRecord(s.path, s.inode)
	r.Image = s.img.name
	f.ended(f.e.writeJSON(r))
	return true
}

func buildPrint(f *finder, _ string) (matcher, error) {
	f.needsInode = f.needsInode || f.e.json
	return func(s *subject) bool { return f.print(s, '\n') }, nil
}

func buildPrint0(f *finder, _ string) (matcher, error) {
	f.needsInode = f.needsInode || f.e.json
	return func(s *subject) bool { return f.print(s, 0) }, nil
}

func buildPrintf(f *finder, arg string) (matcher, error) {
	program, err := parseFormat(arg, findDirectives)
	return func(s *subject) bool {
		if f.err == nil {
			f.err = program.print(f.e, s)
		}
		return true
	}, err
}

// buildLs prints the lines of find -ls: inode, KiB, mode, links, owners, size,
// time and path.
func buildLs(f *finder, _ string) (matcher, error) {
	var line []byte
	return func(s *subject) bool {
		if f.e.json {
			return f.printJSON(s)
		}
		st := s.stat()
		if st == nil {
			return true
		}
		names := f.e.ownersOf(s.img)
		line = appendLeft(line[:0], utoa(uint64(st.Inode)), 9)
		line = appendLeft(append(line, ' '), utoa((st.Sectors+1)/2), 6)
		line = append(append(line, ' '), modeString(st.RawMode)...)
		line = appendLeft(append(line, ' '), utoa(uint64(st.Links)), 3)
		line = appendRight(append(line, ' '), names.user(st.UID), 8)
		line = appendRight(append(line, ' '), names.group(st.GID), 8)
		size := itoa(st.Size)
		if isDevice(st) {
			size = utoa(uint64(st.Major)) + ", " + utoa(uint64(st.Minor))
		}
		line = appendLeft(append(line, ' '), size, 8)
		line = append(append(line, ' '), f.e.lsTime(st.Mtime, false)...)
		line = append(append(line, ' '), f.e.shown(s.path)...)
		if target := s.target(); target != "" {
			line = append(append(line, " -> "...), f.e.shown(target)...)
		}
		_, err := f.e.writer().Write(append(line, '\n'))
		f.ended(err)
		return true
	}, nil
}

// appendLeft pads s with spaces on its left.
func appendLeft(b []byte, s string, width int) []byte {
	for n := len(s); n < width; n++ {
		b = append(b, ' ')
	}
	return append(b, s...)
}

// appendRight pads s with spaces on its right.
func appendRight(b []byte, s string, width int) []byte {
	b = append(b, s...)
	for n := len(s); n < width; n++ {
		b = append(b, ' ')
	}
	return b
}
