// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Changes are told when none has come for a while, all at once.
func TestSettle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const quiet = 100 * time.Millisecond
		events, errs := make(chan fsnotify.Event), make(chan error)
		all := func(e fsnotify.Event) []string {
			if e.Name == "nothing" {
				return nil
			}
			return []string{e.Name}
		}
		wait := func() ([]string, error) { return settle(t.Context(), quiet, events, errs, all) }
		start := time.Now()
		go func() {
			for _, name := range []string{"b", "a", "b", "a"} {
				events <- fsnotify.Event{Name: name}
				time.Sleep(quiet * 9 / 10)
			}
			for range 5 {
				events <- fsnotify.Event{Name: "nothing"}
				time.Sleep(quiet)
			}
		}()
		got, err := wait()
		if took := time.Since(start); err != nil || !slices.Equal(got, []string{"a", "b"}) || took != 3*quiet*9/10+quiet {
			t.Errorf("%q, %v after %v", got, err, took)
		}
		synctest.Wait()
		go func() {
			for range 5 {
				select {
				case events <- fsnotify.Event{Name: "nothing"}:
				case <-t.Context().Done():
				}
			}
			errs <- fsnotify.ErrEventOverflow // too much to be told
		}()
		if got, err := wait(); err != nil || len(got) > 0 {
			t.Errorf("%q, %v", got, err)
		}
		broken := errors.New("broken")
		go func() { errs <- broken }()
		if _, err := wait(); !errors.Is(err, broken) {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := settle(ctx, quiet, events, errs, all); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(events)
		if _, err := wait(); !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
}
