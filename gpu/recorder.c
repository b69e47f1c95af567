// A CUDA driver without a GPU: it takes what the program asks of a driver, computes nothing, and
// counts. With it the program runs on any machine as on an H100 (compute capability 9.0): every
// kernel that it would launch is generated and compiled by NVRTC, launches are checked against the
// device's limits, and what crosses between host and device is counted. Memory of the device is
// memory of the host, filled with zeros; kernels leave it as it is.
//
//   cc -O2 -shared -fPIC -o libcuda.so recorder.c
//
// MIYASAWA_RECORD=FILE gets the counts as JSON when the process ends. The functions are those of
// NVIDIA's driver API (https://docs.nvidia.com/cuda/cuda-driver-api/) that CubeCL calls; handles
// are pointers or numbers that only this file reads.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef int Result;
typedef unsigned long long DevicePointer;

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_SUPPORTED = 801 };

// Counts of the whole process.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long long launches, refused, allocations, allocated, reads, read_bytes, writes,
    written_bytes, copies, waits, modules;

// A kernel of a module.
typedef struct Kernel {
  struct Kernel *next;
  int shared;
  unsigned long long launches, units;
  char name[];
} Kernel;

static Kernel *kernels;

static void print_name(FILE *file, const char *name) {
  for (; *name; name++) {
    if (*name == '"' || *name == '\\') fputc('\\', file);
    fputc(*name, file);
  }
}

__attribute__((destructor)) static void report(void) {
  const char *path = getenv("MIYASAWA_RECORD");
  FILE *file = path && launches ? fopen(path, "w") : NULL;
  if (!file) return;
  fprintf(file,
          "{\"launches\": %llu, \"refused\": %llu, \"modules\": %llu, \"reads\": %llu, "
          "\"read_bytes\": %llu, \"writes\": %llu, \"written_bytes\": %llu, \"copies\": %llu, "
          "\"waits\": %llu, \"allocations\": %llu, \"allocated_bytes\": %llu, \"kernels\": [",
          launches, refused, modules, reads, read_bytes, writes, written_bytes, copies, waits,
          allocations, allocated);
  const char *separator = "";
  for (const Kernel *kernel = kernels; kernel; kernel = kernel->next) {
    if (!kernel->launches) continue;
    fprintf(file, "%s\n{\"launches\": %llu, \"units\": %llu, \"name\": \"", separator,
            kernel->launches, kernel->units);
    print_name(file, kernel->name);
    fputs("\"}", file);
    separator = ",";
  }
  fputs("]}\n", file);
  fclose(file);
}

#define COUNT(what)               \
  do {                            \
    pthread_mutex_lock(&lock);    \
    what;                         \
    pthread_mutex_unlock(&lock);  \
  } while (0)

Result cuInit(unsigned flags) { return OK; }
Result cuDriverGetVersion(int *version) { return *version = 13000, OK; }
Result cuDeviceGetCount(int *count) { return *count = 1, OK; }
Result cuDeviceGet(int *device, int number) {
  return *device = number, number == 0 ? OK : INVALID_VALUE;
}

Result cuDeviceGetName(char *name, int length, int device) {
  snprintf(name, (size_t)length, "NVIDIA H100 (recorded, not computed)");
  return OK;
}

Result cuDeviceGetPCIBusId(char *id, int length, int device) { return NOT_SUPPORTED; }

Result cuDeviceTotalMem_v2(size_t *bytes, int device) { return *bytes = 80ull << 30, OK; }

Result cuMemGetInfo_v2(size_t *available, size_t *total) {
  *total = 80ull << 30;
  *available = *total > allocated ? *total - allocated : 0;
  return OK;
}

// Numbers of CUdevice_attribute, with an H100's values.
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
  switch (attribute) {
    case 1: *value = 1024; return OK;         // MAX_THREADS_PER_BLOCK
    case 2: *value = 1024; return OK;         // MAX_BLOCK_DIM_X
    case 3: *value = 1024; return OK;         // MAX_BLOCK_DIM_Y
    case 4: *value = 64; return OK;           // MAX_BLOCK_DIM_Z
    case 5: *value = 2147483647; return OK;   // MAX_GRID_DIM_X
    case 6: *value = 65535; return OK;        // MAX_GRID_DIM_Y
    case 7: *value = 65535; return OK;        // MAX_GRID_DIM_Z
    case 8: *value = 49152; return OK;        // MAX_SHARED_MEMORY_PER_BLOCK
    case 10: *value = 32; return OK;          // WARP_SIZE
    case 16: *value = 132; return OK;         // MULTIPROCESSOR_COUNT
    case 75: *value = 9; return OK;           // COMPUTE_CAPABILITY_MAJOR
    case 76: *value = 0; return OK;           // COMPUTE_CAPABILITY_MINOR
    case 97: *value = 232448; return OK;      // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    case 115: *value = 1; return OK;          // MEMORY_POOLS_SUPPORTED
    default: *value = 0; return OK;
  }
}

// One context for all.
Result cuDevicePrimaryCtxRetain(void **context, int device) {
  return *context = (void *)0x10, OK;
}
Result cuDevicePrimaryCtxRelease_v2(int device) { return OK; }
Result cuCtxSetCurrent(void *context) { return OK; }
Result cuCtxGetCurrent(void **context) { return *context = (void *)0x10, OK; }
Result cuCtxGetDevice(int *device) { return *device = 0, OK; }
Result cuCtxSynchronize(void) {
  COUNT(waits++);
  return OK;
}
Result cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  return *least = 0, *greatest = -5, OK;
}

// Streams and events are numbers: all is done when it is asked for.
static void *new_handle(void) {
  static uintptr_t last = 0x100;
  void *handle;
  COUNT(handle = (void *)(last += 16));
  return handle;
}

Result cuStreamCreate(void **stream, unsigned flags) { return *stream = new_handle(), OK; }
Result cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) {
  return *stream = new_handle(), OK;
}
Result cuStreamDestroy_v2(void *stream) { return OK; }
Result cuStreamSynchronize(void *stream) {
  COUNT(waits++);
  return OK;
}
Result cuStreamQuery(void *stream) { return OK; }
Result cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return OK; }
Result cuEventCreate(void **event, unsigned flags) { return *event = new_handle(), OK; }
Result cuEventDestroy_v2(void *event) { return OK; }
Result cuEventRecord(void *event, void *stream) { return OK; }
Result cuEventQuery(void *event) { return OK; }
Result cuEventSynchronize(void *event) {
  COUNT(waits++);
  return OK;
}
Result cuEventElapsedTime(float *milliseconds, void *start, void *end) {
  return *milliseconds = 0, OK;
}
Result cuEventElapsedTime_v2(float *milliseconds, void *start, void *end) {
  return *milliseconds = 0, OK;
}

// Pages that nothing writes take no memory. The first one holds the length.
enum { PAGE = 4096 };

Result cuMemAlloc_v2(DevicePointer *pointer, size_t bytes) {
  size_t length = bytes + PAGE;
  char *memory = mmap(NULL, length, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return OUT_OF_MEMORY;
  memcpy(memory, &length, sizeof length);
  COUNT(allocations++; allocated += bytes);
  *pointer = (DevicePointer)(uintptr_t)(memory + PAGE);
  return OK;
}
Result cuMemAllocAsync(DevicePointer *pointer, size_t bytes, void *stream) {
  return cuMemAlloc_v2(pointer, bytes);
}
Result cuMemFree_v2(DevicePointer pointer) {
  char *memory = (char *)(uintptr_t)pointer - PAGE;
  size_t length;
  memcpy(&length, memory, sizeof length);
  COUNT(allocated -= length - PAGE);
  return munmap(memory, length) ? INVALID_VALUE : OK;
}
Result cuMemFreeAsync(DevicePointer pointer, void *stream) { return cuMemFree_v2(pointer); }
Result cuMemAllocHost_v2(void **pointer, size_t bytes) {
  *pointer = calloc(1, bytes ? bytes : 1);
  return *pointer ? OK : OUT_OF_MEMORY;
}
Result cuMemFreeHost(void *pointer) {
  free(pointer);
  return OK;
}

Result cuMemcpyHtoDAsync_v2(DevicePointer to, const void *from, size_t bytes, void *stream) {
  memcpy((void *)(uintptr_t)to, from, bytes);
  COUNT(writes++; written_bytes += bytes);
  return OK;
}
Result cuMemcpyDtoHAsync_v2(void *to, DevicePointer from, size_t bytes, void *stream) {
  memcpy(to, (const void *)(uintptr_t)from, bytes);
  COUNT(reads++; read_bytes += bytes);
  return OK;
}
Result cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, size_t bytes, void *stream) {
  memmove((void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes);
  COUNT(copies++);
  return OK;
}

typedef struct {
  size_t from_x, from_y;
  unsigned from_type;
  const void *from_host;
  DevicePointer from_device;
  void *from_array;
  size_t from_pitch, to_x, to_y;
  unsigned to_type;
  void *to_host;
  DevicePointer to_device;
  void *to_array;
  size_t to_pitch, width, height;
} Copy2D;

Result cuMemcpy2DAsync_v2(const Copy2D *copy, void *stream) {
  enum { HOST = 1 };
  const char *from = copy->from_type == HOST ? copy->from_host
                                             : (const char *)(uintptr_t)copy->from_device;
  char *to = copy->to_type == HOST ? copy->to_host : (char *)(uintptr_t)copy->to_device;
  for (size_t row = 0; row < copy->height; row++)
    memcpy(to + (copy->to_y + row) * copy->to_pitch + copy->to_x,
           from + (copy->from_y + row) * copy->from_pitch + copy->from_x, copy->width);
  size_t bytes = copy->width * copy->height;
  if (copy->to_type == HOST)
    COUNT(reads++; read_bytes += bytes);
  else if (copy->from_type == HOST)
    COUNT(writes++; written_bytes += bytes);
  else
    COUNT(copies++);
  return OK;
}

Result cuModuleLoadData(void **module, const void *image) {
  COUNT(modules++);
  return *module = new_handle(), image ? OK : INVALID_VALUE;
}
Result cuModuleUnload(void *module) { return OK; }

Result cuModuleGetFunction(Kernel **kernel, void *module, const char *name) {
  Kernel *added = calloc(1, sizeof(Kernel) + strlen(name) + 1);
  if (!added) return OUT_OF_MEMORY;
  strcpy(added->name, name);
  COUNT(added->next = kernels; kernels = added);
  return *kernel = added, OK;
}

Result cuFuncSetAttribute(Kernel *kernel, int attribute, int value) {
  enum { MAX_DYNAMIC_SHARED_SIZE_BYTES = 8 };
  if (attribute == MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    if (value > 232448) return INVALID_VALUE;
    kernel->shared = value;
  }
  return OK;
}

Result cuLaunchKernel(Kernel *kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                      unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                      void *stream, void **parameters, void **extra) {
  unsigned long long block = (unsigned long long)block_x * block_y * block_z;
  int fits = grid_x && grid_y && grid_z && grid_x <= 2147483647u && grid_y <= 65535 &&
             grid_z <= 65535 && block && block <= 1024 && block_z <= 64 &&
             shared <= (unsigned)(kernel->shared > 49152 ? kernel->shared : 49152);
  if (!fits) {
    COUNT(refused++);
    return INVALID_VALUE;
  }
  COUNT(launches++; kernel->launches++;
        kernel->units += block * grid_x * grid_y * grid_z);
  return OK;
}

Result cuGetErrorName(Result error, const char **text) {
  return *text = error == INVALID_VALUE ? "CUDA_ERROR_INVALID_VALUE" : "CUDA_ERROR", OK;
}
Result cuGetErrorString(Result error, const char **text) { return cuGetErrorName(error, text); }
