package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	var stderr bytes.Buffer
	now := time.Unix(1000, 0)
	e := &env{
		ctx: context.Background(), stderr: &stderr, errTTY: true, columns: 100,
		now: func() time.Time { return now }, getenv: func(string) string { return "" },
	}
	frames := func() int { return strings.Count(stderr.String(), "\x1b[K") }
	e.showProgress(progressState{done: 0, total: 100 << 20})
	for range 50 {
		now = now.Add(10 * time.Millisecond)
		e.showProgress(progressState{done: 10 << 20, total: 100 << 20, files: 3, ofMany: 10, what: "/usr/bin/\x1bx"})
	}
	if got := frames(); got < 3 || got > 6 {
		t.Errorf("%d frames in half a second", got)
	}
	now = now.Add(time.Second)
	stderr.Reset()
	e.showProgress(progressState{done: 50 << 20, total: 100 << 20, files: 5, ofMany: 10, what: "/usr/bin/\x1bx"})
	frame := stderr.String()
	for _, want := range []string{" 50%", "50M/100M", "34M/s", "5/10 files", "ETA 0:02", `/usr/bin/\x1bx`} {
		if !strings.Contains(frame, want) {
			t.Errorf("no %q in %q", want, frame)
		}
	}
	stderr.Reset()
	e.endProgress()
	if stderr.String() != "\r\x1b[K" {
		t.Errorf("end %q", stderr.String())
	}
}

func TestProgress_notWanted(t *testing.T) {
	for name, e := range map[string]*env{
		"no terminal": {},
		"JSON":        {errTTY: true, json: true},
		"dumb":        {errTTY: true, getenv: func(string) string { return "dumb" }},
	} {
		var stderr bytes.Buffer
		e.stderr, e.now = &stderr, time.Now
		if e.getenv == nil {
			e.getenv = func(string) string { return "" }
		}
		e.showProgress(progressState{done: 1, total: 2})
		e.endProgress()
		if stderr.Len() != 0 {
			t.Errorf("%s: %q", name, stderr.String())
		}
	}
}

func TestFitColumns(t *testing.T) {
	for _, tt := range []struct {
		widths  []int
		total   int
		rows    int
		columns int
	}{
		{[]int{5}, 80, 1, 1},
		{[]int{5, 5, 5}, 19, 1, 3},
		{[]int{5, 5, 5}, 18, 2, 2},
		{[]int{50, 50}, 20, 2, 1},
		{[]int{1, 1, 30, 1, 1, 1}, 36, 2, 3},
	} {
		rows, columns := fitColumns(tt.widths, tt.total)
		if rows != tt.rows || len(columns) != tt.columns {
			t.Errorf("%v in %d: %d rows, columns %v", tt.widths, tt.total, rows, columns)
		}
	}
}
