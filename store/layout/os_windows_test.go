// SPDX-License-Identifier: Apache-2.0

package layout_test

import "errors"

func mkfifo(string) error { return errors.ErrUnsupported }
