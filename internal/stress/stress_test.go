package stress

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var (
	flagTime   = flag.Duration("stress.time", 4*time.Second, "how long to play rounds; 0 plays none")
	flagSeed   = flag.Uint64("stress.seed", 0, "seed of the first round; 0 is a random one")
	flagRepeat = flag.Bool("stress.repeat", false, "play the round of -stress.seed again and again")
	flagOver   = flag.String("stress.over", "", "play only rounds over transports with such names, as HTTP/2")
	flagKeep   = flag.Bool("stress.keep", false, "continue after a failure")
)

// TestStress plays rounds, each with the next seed, for a while.
func TestStress(t *testing.T) {
	if *flagTime == 0 {
		t.Skip("it has no time")
	}
	seed := *flagSeed
	if seed == 0 {
		seed = uint64(rand.Uint32())
	}
	rounds := 0
	for began := time.Now(); time.Since(began) < *flagTime; {
		if !strings.Contains(choose(seed).transport.name, *flagOver) {
			seed++
			continue
		}
		rounds++
		ok := t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			if err := Run(seed); err != nil {
				t.Error(err)
			}
		})
		if !ok {
			t.Errorf("to repeat it: cd internal/stress && go test -race . -run '^TestStress$' "+
				"-stress.seed=%d -stress.repeat -stress.time=1m", seed)
			if !*flagKeep {
				return
			}
		}
		if !*flagRepeat {
			seed++
		}
	}
	t.Logf("%d rounds", rounds)
}

// TestEnvironments plays rounds in processes of their own, with runtime settings
// that change how goroutines are scheduled.
func TestEnvironments(t *testing.T) {
	if *flagTime == 0 {
		t.Skip("they have no time")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	for _, env := range []string{"GOMAXPROCS=1", "GOMAXPROCS=16", "GOGC=5"} {
		t.Run(env, func(t *testing.T) {
			cmd := exec.Command(exe, "-test.run=^TestStress$", "-test.v",
				fmt.Sprintf("-stress.time=%v", *flagTime/6), fmt.Sprintf("-stress.seed=%d", *flagSeed))
			cmd.Env = append(os.Environ(), env)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v with %s\n%s", err, env, out)
			}
		})
	}
}
