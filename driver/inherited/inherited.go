// Package inherited tells which signals the process was started with as
// ignored. Go's runtime takes handlers of its own for most of them before main
// runs, so C has to look before that.
package inherited

/*
#include <signal.h>

static unsigned char ignored[65]; // by the signal's number

__attribute__((constructor)) static void look(void)
{
	for (int i = 1; i < 65; i++) {
		struct sigaction action;
		ignored[i] = !sigaction(i, NULL, &action) && action.sa_handler == SIG_IGN;
	}
}

static int was_ignored(int i) { return ignored[i]; }
*/
import "C"

import (
	"os"
	"os/signal"
	"syscall"
)

// IgnoreSignals has this process, and all that it starts, ignore what it was
// started with as ignored, as by nohup or a shell's trap. Left out is what this
// process itself needs: SIGCHLD to wait for others, SIGURG for Go's scheduler.
func IgnoreSignals() {
	for i := range C.int(64) {
		sig := syscall.Signal(i + 1)
		if C.was_ignored(i+1) != 0 && sig != syscall.SIGCHLD && sig != syscall.SIGURG {
			signal.Ignore(os.Signal(sig))
		}
	}
}
