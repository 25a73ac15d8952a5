package main

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/format"
	imgtree "github.com/e4kit/e4kit/ext4fs/tree"
)

// mkfs makes a file system.
func (e *env) mkfs(name string, o *mkfsOptions) error {
	switch t, err := parseTarget(name); {
	case err != nil || t.given:
		return e.usagef("%q is not the name of an image", name)
	case name == "-":
		return e.usagef("an image is not written to standard output: give a file name (./- is one)")
	}
	boundWriting()
	journal, err := e.openJournal(o)
	if err != nil {
		return err
	}
	if journal != nil {
		defer journal.Close()
	}
	t, err := e.openTarget(name, o)
	if err != nil {
		return err
	}
	defer t.close()
	if err := e.chooseSize(t, o); err != nil {
		return err
	}
	content, err := e.loadTree(t, o)
	if err != nil {
		return err
	}
	if content != nil {
		defer content.Close()
	}
	job, err := e.planJob(t, o, content)
	if err != nil {
		return err
	}
	t.offset, t.total, err = o.frame(job.Size(), t)
	if err != nil {
		return at(t.name, "", err)
	}
	if !o.dry {
		if err := e.writeJob(t, o, job); err != nil {
			return err
		}
		if journal != nil {
			if err := format.AddJournalUser(journal, job.Super().UUID); err != nil {
				return at(journal.Path(), "", err)
			}
		}
	}
	// What was random or follows from the content is known only now.
	return e.mkfsReport(newMade(t, o, job), o)
}

// planJob plans, and asks whether the reader of the profile understands what
// comes out.
func (e *env) planJob(t *mkfsTarget, o *mkfsOptions, content *imgtree.Tree) (maker, error) {
	f := o.format
	f.Zeroed = f.Zeroed || t.zeroed(o)
	f.Warn = func(path string, err error) {
		if path == "" {
			e.note("%s: warning: %v", t.name, err)
			return
		}
		e.note("%s: warning: %v", path, err)
	}
	if e.wantsProgress() {
		f.Progress = func(p format.ProgressInfo) {
			e.showProgressLocked(progressState{
				done: p.Bytes, total: p.TotalBytes, files: p.Files, ofMany: p.TotalFiles, what: p.Path,
			})
		}
	}
	if wantsJournalDevice(&f) {
		if content != nil {
			return nil, e.usagef("-O journal_dev makes a journal, which has no content")
		}
		job, err := e.planJournal(f)
		return job, e.planError(t, err)
	}
	job, err := format.Plan(e.ctx, f, content)
	if err != nil {
		return nil, e.planError(t, err)
	}
	for _, w := range job.Warnings() {
		// Like mke2fs: that a small image gets none is news only to those who
		// asked for one.
		if o.quiet || w == "too small for a journal" && !o.asksForJournal() {
			continue
		}
		e.note("%s: warning: %s", t.name, w)
	}
	if o.profile != nil {
		sb := job.Super()
		if err := o.profile.Check(&sb); err != nil {
			return nil, e.usagef("%v", err)
		}
	}
	return fsMaker{job}, nil
}

// asksForJournal reports whether the command line names a journal.
func (o *mkfsOptions) asksForJournal() bool {
	return o.verbose || o.format.Journal.Want || slices.Contains(o.format.Features, "has_journal")
}

// planError tells mistakes on the command line from other troubles.
func (e *env) planError(t *mkfsTarget, err error) error {
	var bad *format.OptionError
	if errors.As(err, &bad) {
		return e.usagef("%v", err)
	}
	return at(t.name, "", sourceError(err))
}

// writeJob writes what was planned.
func (e *env) writeJob(t *mkfsTarget, o *mkfsOptions, job maker) error {
	if err := e.ctx.Err(); err != nil {
		return err // before anything is lost
	}
	if t.inPlace(o) {
		err := e.writeInPlace(t, o, job)
		e.endProgress()
		if err != nil {
			e.note("%s: is incomplete, and holds no file system now", t.name)
			return at(t.name, "", sourceError(err))
		}
		return nil
	}
	err := e.writeNew(t, o, job)
	e.endProgress()
	var pe *fs.PathError
	if errors.As(err, &pe) && err == error(pe) && pe.Path == t.name {
		err = pe.Err // at tells the name
	}
	return at(t.name, "", sourceError(err))
}

// writeInPlace writes to what has the name.
func (e *env) writeInPlace(t *mkfsTarget, o *mkfsOptions, job maker) error {
	p, err := t.prepare(o, job.Size())
	if err != nil {
		return err
	}
	return e.fill(p, t, o, job)
}

// fill writes file system and partition table.
func (e *env) fill(p *place, t *mkfsTarget, o *mkfsOptions, job maker) error {
	if err := job.make(e.ctx, p.w); err != nil {
		return err
	}
	if o.partition == "" {
		return nil
	}
	if err := o.writeTable(p, t, job); err != nil {
		return err
	}
	return p.disk.Sync()
}

// writeNew makes a new file.
func (e *env) writeNew(t *mkfsTarget, o *mkfsOptions, job maker) error {
	raw, err := createNew(t.name)
	if err != nil {
		return err
	}
	defer raw.drop()
	p, err := prepareNew(raw, t.offset, job.Size(), t.total, o.output == "raw")
	if err != nil {
		return err
	}
	if err := e.fill(p, t, o, job); err != nil {
		return err
	}
	if err := e.ctx.Err(); err != nil {
		return err
	}
	if o.output == "raw" {
		return raw.publish(false)
	}
	out, err := createNew(t.name)
	if err != nil {
		return err
	}
	defer out.drop()
	if err := e.convert(out, p, o); err != nil {
		return err
	}
	if err := e.ctx.Err(); err != nil {
		return err
	}
	return out.publish(t.info != nil)
}
