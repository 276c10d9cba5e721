// Fibers for the threads of one block. A fiber runs until it waits for others: at a barrier of the
// block, or for the other lanes of its warp.
#include <cstdio>
#include <cstdlib>
#include <ucontext.h>
#include <vector>

struct Place { int x; };
Place threadIdx, blockIdx;

namespace {
const int STACK = 64 * 1024, WARP = 32;

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    bool done;
};

struct Meeting { int arrived, round; };

std::vector<Fiber> fibers;
std::vector<Meeting> warps;
std::vector<float> offered;
Meeting whole;
ucontext_t scheduler;
int size, progress;
void (*kernel)(void**);
void** arguments;

void fail(const char* reason)
{
    std::fprintf(stderr, "emulator: %s\n", reason);
    std::abort();
}

void rest()
{
    const int self = threadIdx.x;
    swapcontext(&fibers[self].context, &scheduler);
}

void meet(Meeting& meeting, int members)
{
    const int round = meeting.round;
    progress++;
    if (++meeting.arrived == members) {
        meeting.arrived = 0;
        meeting.round++;
    }
    while (meeting.round == round) rest();
}

void life()
{
    kernel(arguments);
    fibers[threadIdx.x].done = true;
    progress++;
    rest();
}

void run_block()
{
    whole = {0, 0};
    warps.assign(size / WARP, {0, 0});
    for (int i = 0; i < size; i++) {
        Fiber& fiber = fibers[i];
        fiber.done = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, life, 0);
    }
    for (int left = size; left;) {
        progress = 0;
        // Backwards, so that nobody relies on low threads being first.
        for (int i = size - 1; i >= 0; i--) {
            if (fibers[i].done) continue;
            threadIdx.x = i;
            swapcontext(&scheduler, &fibers[i].context);
            left -= fibers[i].done;
        }
        if (!progress && left) fail("threads wait for others that never come");
    }
    if (whole.arrived) fail("a barrier that not all threads reach");
}
}  // namespace

extern "C" void __syncthreads() { meet(whole, size); }

extern "C" float exchange(float value, int lane)
{
    const int self = threadIdx.x, first = self / WARP * WARP;
    offered[self] = value;
    meet(warps[self / WARP], WARP);
    const float other = offered[first + lane];
    meet(warps[self / WARP], WARP);
    return other;
}

extern "C" void emulate(int blocks, int threads, void (*body)(void**), void** values)
{
    if (threads % WARP || threads > 1024) fail("blocks are of whole warps, up to 1024 threads");
    size = threads;
    kernel = body;
    arguments = values;
    fibers.resize(size);
    offered.resize(size);
    for (Fiber& fiber : fibers) fiber.stack.resize(STACK);
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) run_block();
}
