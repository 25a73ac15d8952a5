package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
)

// journalSocket is where systemd's journal takes messages.
const journalSocket = "/run/systemd/journal/socket"

// mountLog is where a server tells what happens.
func (e *env) mountLog(r *mountRun) (*slog.Logger, func(), error) {
	o := &slog.HandlerOptions{Level: r.level}
	if r.logFile != "" {
		f, err := os.OpenFile(r.logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return nil, nil, at(r.logFile, "", err)
		}
		return slog.New(slog.NewTextHandler(f, o)), func() { f.Close() }, nil
	}
	if r.foreground {
		return slog.New(slog.NewTextHandler(&lockedWriter{e: e}, o)), func() {}, nil
	}
	conn, err := net.Dial("unixgram", journalSocket)
	if err != nil {
		return slog.New(slog.DiscardHandler), func() {}, nil
	}
	return slog.New(newJournalHandler(conn, r.level)), func() { conn.Close() }, nil
}

// lockedWriter is standard error, which others write to as well.
type lockedWriter struct{ e *env }

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	return w.e.stderr.Write(p)
}

// journalHandler sends messages in the form of systemd's journal: lines of
// NAME=value, or where the value has lines of its own NAME, its length and it.
type journalHandler struct {
	mu   *sync.Mutex // guards buf, and the order of messages
	buf  *bytes.Buffer
	text slog.Handler // the attributes, to buf
	to   io.Writer
}

func newJournalHandler(to io.Writer, level slog.Level) *journalHandler {
	buf := new(bytes.Buffer)
	text := slog.NewTextHandler(buf, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		// The journal has these by itself, and the message stands in front.
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
			return slog.Attr{}
		}
		return a
	}})
	return &journalHandler{new(sync.Mutex), buf, text, to}
}

func (h *journalHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.text.Enabled(ctx, l)
}

func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &journalHandler{h.mu, h.buf, h.text.WithAttrs(attrs), h.to}
}

func (h *journalHandler) WithGroup(name string) slog.Handler {
	return &journalHandler{h.mu, h.buf, h.text.WithGroup(name), h.to}
}

func (h *journalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buf.Reset()
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	message := strings.TrimSpace(r.Message + " " + h.buf.String())
	message = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, message)
	_, err := h.to.Write([]byte("PRIORITY=" + journalPriority(r.Level) + "\nSYSLOG_IDENTIFIER=e4kit\nSYSLOG_PID=" +
		strconv.Itoa(os.Getpid()) + "\nMESSAGE=" + message + "\n"))
	return err
}

// journalPriority is the level as syslog counts it.
func journalPriority(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "3"
	case l >= slog.LevelWarn:
		return "4"
	case l >= slog.LevelInfo:
		return "6"
	}
	return "7"
}
