// What CUDA C++ has and C++ has not, as far as our kernels use it. Blocks run one after another;
// the threads of a block are fibers that meet in `runtime.cpp`.
#pragma once
#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(most)

struct Place { int x; };
extern Place threadIdx, blockIdx;

struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };

extern "C" void __syncthreads();
extern "C" float exchange(float value, int lane);
extern "C" void emulate(int blocks, int threads, void (*kernel)(void**), void** arguments);

inline float __shfl_xor_sync(unsigned, float value, int step)
{
    return exchange(value, (threadIdx.x % 32) ^ step);
}
template <class T> inline T __ldcs(const T* at) { return *at; }
template <class T> inline T __ldg(const T* at) { return *at; }
template <class T> inline void __stwb(T* at, T value) { *at = value; }
inline float rsqrtf(float value) { return 1.0f / __builtin_sqrtf(value); }
inline float __uint_as_float(unsigned bits)
{
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
}
inline unsigned __float_as_uint(float value)
{
    unsigned bits;
    __builtin_memcpy(&bits, &value, 4);
    return bits;
}

// A kernel with the addresses of its arguments, as cuLaunchKernel takes them.
template <int... Index> struct Indices {};
template <int Count, int... Index> struct Count_to : Count_to<Count - 1, Count - 1, Index...> {};
template <int... Index> struct Count_to<0, Index...> { typedef Indices<Index...> type; };

template <class... Types, int... Index>
void spread(void (*kernel)(Types...), void** arguments, Indices<Index...>)
{
    kernel(*static_cast<Types*>(arguments[Index])...);
}
template <class... Types> void spread(void (*kernel)(Types...), void** arguments)
{
    spread(kernel, arguments, typename Count_to<sizeof...(Types)>::type());
}
