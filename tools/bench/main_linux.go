package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == measureWord {
		os.Exit(measureChild(os.Args[2:]))
	}
	if len(os.Args) > 2 && os.Args[1] == loadWord {
		os.Exit(loadChild(os.Args[2:]))
	}
	os.Exit(status())
}

// options are the command line.
type options struct {
	only   string
	rounds int
	json   bool
	list   bool
	e4kit  string
	dest   string
	small  bool
	slow   bool
}

func status() int {
	var o options
	flag.StringVar(&o.only, "only", "", "run the jobs whose name matches this regular `expression`")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each job; quick ones get three times as many")
	flag.BoolVar(&o.json, "json", false, "print results as JSON, one object per job")
	flag.BoolVar(&o.list, "list", false, "list the jobs and do nothing")
	flag.StringVar(&o.e4kit, "e4kit", "", "measure this `program`; by default bin/e4kit is built")
	flag.BoolVar(&o.small, "small", false, "the jobs that write and make images do so on a small scale, to see that they run")
	flag.BoolVar(&o.slow, "slow", false, "also measure what takes minutes: mke2fs -d of 200,000 names, a million files")
	flag.StringVar(&o.dest, "dest", "/dev/shm", "`folder` on a tmpfs for what is copied out")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, o)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		return 130
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

var errUsage = errors.New("see --help")

func run(ctx context.Context, o options) error {
	if flag.NArg() > 0 || o.rounds < 1 {
		return errUsage
	}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	var chosen []*job
	size, mkfs, mounts := fullScale, fullMkfs, "full"
	if o.small {
		size, mkfs, mounts = smallScale, smallMkfs, "small"
	}
	for _, j := range slices.Concat(jobs(), writeJobs(size), mkfsJobs(mkfs, o.slow), mountJobs(mounts)) {
		if only.MatchString(j.name) {
			chosen = append(chosen, j)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no job matches %q", o.only)
	}
	if o.list {
		for _, j := range chosen {
			fmt.Printf("%-16s %s\n", j.name, j.what)
		}
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("needs root, for loop mounts")
	}
	if o.e4kit == "" {
		if o.e4kit, err = build(ctx); err != nil {
			return err
		}
	}
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	results, err := b.jobs(chosen)
	err = errors.Join(err, b.close())
	if err != nil {
		return err
	}
	return printResults(results, o.json)
}

// build builds the program as "make build" does.
func build(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "urfave_cli_no_docs", "-o", "bin/", "./tools/e4kit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build e4kit (run this in the project's folder): %w", err)
	}
	return filepath.Abs("bin/e4kit")
}

func printResults(results []*result, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(os.Stdout)
		for _, r := range results {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
	} else if err := printTable(os.Stdout, results); err != nil {
		return err
	}
	var failed error
	for _, r := range results {
		if r.Error != "" {
			failed = errors.Join(failed, fmt.Errorf("%s: %s", r.Job, r.Error))
		}
	}
	return failed
}
