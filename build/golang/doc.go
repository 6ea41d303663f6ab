// SPDX-License-Identifier: Apache-2.0

// Package golang builds images of Go programs, as ko does.
package golang
