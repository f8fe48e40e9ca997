/* Prints the frequency of the time stamp counter in kHz, for a guest that cannot measure it: see
 * run. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define TRIES    100
#define APART_NS 100000000

struct sample {
	uint64_t tsc, ns, doubt_ns;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Both clocks at one moment: the try that nobody interrupted. */
static struct sample take_sample(void)
{
	struct sample best = { .doubt_ns = UINT64_MAX };

	for (int i = 0; i < TRIES; i++) {
		uint64_t before = now_ns(), tsc = __rdtsc(), after = now_ns();

		if (after - before < best.doubt_ns)
			best = (struct sample){ tsc, before, after - before };
	}
	return best;
}

int main(void)
{
	struct timespec apart = { .tv_nsec = APART_NS };
	struct sample a = take_sample(), b;

	nanosleep(&apart, NULL);
	b = take_sample();
	printf("%.0f\n", (double)(b.tsc - a.tsc) * 1e6 / (double)(b.ns - a.ns));
	return 0;
}
