package dump

import (
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// labelWidth is the width of the column of labels.
const labelWidth = 27

// printer collects the text of a value.
type printer struct {
	b      []byte
	indent int // columns
}

// render writes what fn prints.
func render(w io.Writer, fn func(p *printer)) error {
	var p printer
	fn(&p)
	_, err := w.Write(p.b)
	return err
}

// linef prints one line.
func (p *printer) linef(format string, args ...any) {
	p.space(p.indent)
	p.b = fmt.Appendf(p.b, format, args...)
	p.b = append(p.b, '\n')
}

func (p *printer) space(n int) {
	for range n {
		p.b = append(p.b, ' ')
	}
}

// field prints a label and a value.
func (p *printer) field(label, value string) {
	p.space(p.indent)
	p.b = append(p.b, label...)
	p.b = append(p.b, ':')
	p.space(max(labelWidth-p.indent-len(label), 1))
	p.b = append(p.b, value...)
	p.b = append(p.b, '\n')
}

// block prints what fn prints, two columns further in.
func (p *printer) block(fn func()) {
	p.indent += 2
	fn()
	p.indent -= 2
}

// problems prints the trouble that a structure had.
func (p *printer) problems(list []string) {
	for _, s := range list {
		p.linef("! %s", escape(s))
	}
}

// fields prints the fields of a struct, or of a pointer to one, that have a
// text tag: `text:"Label"`, with the options hex and omitempty behind commas.
// The fields of an embedded struct are printed in its place.
func (p *printer) fields(v any) {
	s := reflect.ValueOf(v)
	for s.Kind() == reflect.Pointer {
		if s.IsNil() {
			return
		}
		s = s.Elem()
	}
	p.structFields(s)
}

func (p *printer) structFields(v reflect.Value) {
	plan := planOf(v.Type())
	for i := range plan {
		f := &plan[i]
		x := v.Field(f.index)
		if f.embedded {
			p.structFields(x)
			continue
		}
		if f.omitEmpty && x.IsZero() {
			continue
		}
		if f.pointer {
			if x.IsNil() {
				continue
			}
			x = x.Elem()
		}
		p.space(p.indent)
		p.b = append(p.b, f.label...)
		p.b = append(p.b, ':')
		p.space(max(labelWidth-p.indent-len(f.label), 1))
		p.b = appendValue(p.b, x, f.hex)
		p.b = append(p.b, '\n')
	}
}

// fieldPlan is how one field of a struct is printed.
type fieldPlan struct {
	index                             int
	label                             string
	hex, omitEmpty, pointer, embedded bool
}

// plans keeps the fields of each type of struct: its tags are read once.
var plans sync.Map // reflect.Type to []fieldPlan

func planOf(t reflect.Type) []fieldPlan {
	if plan, ok := plans.Load(t); ok {
		return plan.([]fieldPlan)
	}
	var plan []fieldPlan
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("text")
		switch {
		case ok && tag != "-":
			label, options, _ := strings.Cut(tag, ",")
			plan = append(plan, fieldPlan{index: i, label: label, hex: strings.Contains(options, "hex"),
				omitEmpty: strings.Contains(options, "omitempty"), pointer: f.Type.Kind() == reflect.Pointer})
		case !ok && f.Anonymous && f.Type.Kind() == reflect.Struct:
			plan = append(plan, fieldPlan{index: i, embedded: true})
		}
	}
	plans.Store(t, plan)
	return plan
}

// appender is a value that can append its text.
type appender interface {
	appendText(b []byte) []byte
}

// appendValue appends the text of one field.
func appendValue(b []byte, v reflect.Value, hexadecimal bool) []byte {
	switch v.Kind() {
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if hexadecimal {
			return strconv.AppendUint(append(b, "0x"...), v.Uint(), 16)
		}
		return strconv.AppendUint(b, v.Uint(), 10)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.AppendInt(b, v.Int(), 10)
	case reflect.Bool:
		if v.Bool() {
			return append(b, "yes"...)
		}
		return append(b, "no"...)
	case reflect.String:
		return append(b, escape(v.String())...)
	}
	if v.CanAddr() {
		if a, ok := v.Addr().Interface().(appender); ok {
			return a.appendText(b)
		}
	}
	if s, ok := v.Interface().(fmt.Stringer); ok {
		return append(b, s.String()...)
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ' ')
			}
			b = appendValue(b, v.Index(i), hexadecimal)
		}
		return b
	}
	return fmt.Append(b, v.Interface())
}

// formatValue is the text of one field.
func formatValue(v reflect.Value, hexadecimal bool) string {
	return string(appendValue(nil, v, hexadecimal))
}

// escape makes a text from the image harmless for a terminal and keeps it on
// one line.
func escape(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	var out strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r):
			out.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&out, `\x%02x`, r)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}

// table prints rows in columns; those in right are aligned to the right. The
// first row is the heading.
func (p *printer) table(right string, rows [][]string) {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], textWidth(cell))
		}
	}
	for _, row := range rows {
		p.space(p.indent)
		for i, cell := range row {
			pad := width[i] - textWidth(cell)
			if i > 0 {
				p.b = append(p.b, ' ', ' ')
			}
			if i < len(right) && right[i] == 'r' {
				p.space(pad)
				p.b = append(p.b, cell...)
			} else {
				p.b = append(p.b, cell...)
				if i < len(row)-1 {
					p.space(pad)
				}
			}
		}
		for len(p.b) > 0 && p.b[len(p.b)-1] == ' ' {
			p.b = p.b[:len(p.b)-1]
		}
		p.b = append(p.b, '\n')
	}
}

func textWidth(s string) int {
	n := 0
	for range s {
		n++
	}
	return n
}

func utoa[T ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64](n T) string {
	return strconv.FormatUint(uint64(n), 10)
}
