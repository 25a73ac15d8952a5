package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// directive writes one piece of a format.
type directive func(e *env, s *subject) string

// directives finds the directive that begins text, after the percent sign and
// its width, and how long its name is.
type directives func(text string) (directive, int)

// piece is a literal, or a directive with its width.
type piece struct {
	literal string
	value   directive
	width   int
	left    bool
	zero    bool
}

// formatter is a format taken apart.
type formatter []piece

// maxWidth bounds the width of a directive.
const maxWidth = 4096

// parseFormat takes a format apart: %-20p, \n and literals.
func parseFormat(format string, table directives) (formatter, error) {
	var f formatter
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			f = append(f, piece{literal: literal.String()})
			literal.Reset()
		}
	}
	for i := 0; i < len(format); i++ {
		switch c := format[i]; {
		case c == '\\':
			text, n, err := parseEscape(format[i+1:])
			if err != nil {
				return nil, err
			}
			literal.WriteString(text)
			i += n
		case c != '%':
			literal.WriteByte(c)
		case strings.HasPrefix(format[i:], "%%"):
			literal.WriteByte('%')
			i++
		default:
			flush()
			p, n, err := parseDirective(format[i+1:], table)
			if err != nil {
				return nil, err
			}
			f = append(f, p)
			i += n
		}
	}
	flush()
	return f, nil
}

func parseDirective(s string, table directives) (piece, int, error) {
	var p piece
	i := 0
	for ; i < len(s) && (s[i] == '-' || s[i] == '0'); i++ {
		p.left = p.left || s[i] == '-'
		p.zero = p.zero || s[i] == '0'
	}
	for ; i < len(s) && '0' <= s[i] && s[i] <= '9'; i++ {
		p.width = p.width*10 + int(s[i]-'0')
		if p.width > maxWidth {
			return p, 0, fmt.Errorf("format: width over %d", maxWidth)
		}
	}
	value, n := table(s[i:])
	if value == nil {
		return p, 0, fmt.Errorf("format: unknown directive %q", "%"+s[:min(i+1, len(s))])
	}
	p.value = value
	return p, i + n, nil
}

// parseEscape reads what follows a backslash.
func parseEscape(s string) (text string, n int, err error) {
	if s == "" {
		return "", 0, fmt.Errorf("format: a backslash at the end")
	}
	if i := strings.IndexByte(`abfnrtv\"`, s[0]); i >= 0 {
		return "\a\b\f\n\r\t\v\\\""[i : i+1], 1, nil
	}
	end := 0
	for end < len(s) && end < 3 && '0' <= s[end] && s[end] <= '7' {
		end++
	}
	if end == 0 {
		return "", 0, fmt.Errorf("format: unknown escape %q", `\`+s[:1])
	}
	v, err := strconv.ParseUint(s[:end], 8, 8)
	if err != nil {
		return "", 0, fmt.Errorf("format: escape %q is no byte", `\`+s[:end])
	}
	return string([]byte{byte(v)}), end, nil
}

// print writes the format for one file.
func (f formatter) print(e *env, s *subject) error {
	w := e.writer()
	var err error
	for _, p := range f {
		text := p.literal
		if p.value != nil {
			text = p.value(e, s)
		}
		fill := ""
		if n := p.width - len(text); n > 0 {
			c := " "
			if p.zero && !p.left {
				c = "0"
			}
			fill = strings.Repeat(c, n)
		}
		if p.left {
			text += fill
		} else {
			text = fill + text
		}
		_, err = w.WriteString(text)
	}
	if err != nil {
		return err
	}
	return e.endLine()
}

// formatTime writes a time in find's format letter k; ok is false for a
// letter that is not known.
func formatTime(t time.Time, k byte) (string, bool) {
	if k == '@' {
		return fmt.Sprintf("%d.%09d0", t.Unix(), t.Nanosecond()), true
	}
	layout, ok := timeLayouts[k]
	if !ok {
		return "", false
	}
	return formatTenDigits(t, layout), true
}

// tenDigits stands for the fraction of a second as find(1) has it, with a
// tenth digit that is always 0: layouts know nine digits.
const tenDigits = "\x00"

func formatTenDigits(t time.Time, layout string) string {
	return strings.Replace(t.Format(layout), tenDigits, fmt.Sprintf(".%09d0", t.Nanosecond()), 1)
}

var timeLayouts = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'p': "PM", 'y': "06", 'j': "002",
	'S': "05" + tenDigits, 'F': "2006-01-02", 'T': "15:04:05" + tenDigits, 'X': "15:04:05", 'x': "01/02/06",
	'D': "01/02/06", 'R': "15:04", 'Z': "MST", 'z': "-0700", 'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January",
	'+': "2006-01-02+15:04:05" + tenDigits, 'c': "Mon Jan _2 15:04:05 2006", 'e': "_2",
}
