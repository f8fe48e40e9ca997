/* Included by inject.c only, where CALL and the others are defined. */
#ifdef CALL
/*
 * Every call of ours that can fail, one row each: kind, name, type, what it returns when it fails,
 * errno, parameters, arguments. The Makefile has the linker send them through inject.c
 * (-Wl,--wrap), and takes the names from here: they stand behind the kind. The first argument of a
 * PATH_CALL is a path, which may be found elsewhere (fault_root()).
 *
 * Functions that take more arguments at will (open) have those here that ours pass. WRITTEN ones
 * are written out in inject.c.
 */
WRITTEN(asprintf)
WRITTEN(__asprintf_chk)
WRITTEN(ibv_alloc_pd)
WRITTEN(fclose)
WRITTEN(fflush)
WRITTEN(fgets)
WRITTEN(fread)
WRITTEN(MHD_start_daemon)

CALL(MEMORY, malloc, void *, NULL, ENOMEM, (size_t a), (a))
CALL(MEMORY, calloc, void *, NULL, ENOMEM, (size_t a, size_t b), (a, b))
CALL(MEMORY, realloc, void *, NULL, ENOMEM, (void *a, size_t b), (a, b))
CALL(MEMORY, reallocarray, void *, NULL, ENOMEM, (void *a, size_t b, size_t c), (a, b, c))
CALL(MEMORY, aligned_alloc, void *, NULL, ENOMEM, (size_t a, size_t b), (a, b))
CALL(MEMORY, posix_memalign, int, ENOMEM, 0, (void **a, size_t b, size_t c), (a, b, c))
CALL(MEMORY, strdup, char *, NULL, ENOMEM, (const char *a), (a))
CALL(MEMORY, strndup, char *, NULL, ENOMEM, (const char *a, size_t b), (a, b))
CALL(MEMORY, open_memstream, FILE *, NULL, ENOMEM, (char **a, size_t *b), (a, b))
CALL(MEMORY, fmemopen, FILE *, NULL, ENOMEM, (void *a, size_t b, const char *c), (a, b, c))
CALL(MEMORY, getaddrinfo, int, EAI_MEMORY, 0,
     (const char *a, const char *b, const struct addrinfo *c, struct addrinfo **d), (a, b, c, d))
CALL(MEMORY, getpwnam, struct passwd *, NULL, ENOMEM, (const char *a), (a))
CALL(MEMORY, getgrnam, struct group *, NULL, ENOMEM, (const char *a), (a))

CALL(MAP, mmap, void *, MAP_FAILED, ENOMEM, (void *a, size_t b, int c, int d, int e, off_t f),
     (a, b, c, d, e, f))
CALL(MAP, mremap, void *, MAP_FAILED, ENOMEM, (void *a, size_t b, size_t c, int d, void *e),
     (a, b, c, d, e))
CALL(MAP, memfd_create, int, -1, EMFILE, (const char *a, unsigned int b), (a, b))
CALL(MAP, madvise, int, -1, ENOMEM, (void *a, size_t b, int c), (a, b, c))

PATH_CALL(DESCRIPTOR, open, int, -1, EMFILE, (const char *a, int b, mode_t c), (a, b, c))
CALL(DESCRIPTOR, openat, int, -1, EMFILE, (int a, const char *b, int c, mode_t d), (a, b, c, d))
PATH_CALL(DESCRIPTOR, fopen, FILE *, NULL, EMFILE, (const char *a, const char *b), (a, b))
PATH_CALL(DESCRIPTOR, opendir, DIR *, NULL, EMFILE, (const char *a), (a))
PATH_CALL(DESCRIPTOR, scandir, int, -1, ENOMEM,
	  (const char *a, struct dirent ***b, int (*c)(const struct dirent *),
	   int (*d)(const struct dirent **, const struct dirent **)),
	  (a, b, c, d))
CALL(DESCRIPTOR, socket, int, -1, EMFILE, (int a, int b, int c), (a, b, c))
CALL(DESCRIPTOR, accept4, int, -1, EMFILE, (int a, struct sockaddr *b, socklen_t *c, int d),
     (a, b, c, d))
CALL(DESCRIPTOR, eventfd, int, -1, EMFILE, (unsigned int a, int b), (a, b))
CALL(DESCRIPTOR, dup3, int, -1, EBUSY, (int a, int b, int c), (a, b, c))
CALL(DESCRIPTOR, udev_new, struct udev *, NULL, ENOMEM, (void), ())
CALL(DESCRIPTOR, udev_monitor_new_from_netlink, struct udev_monitor *, NULL, EMFILE,
     (struct udev * a, const char *b), (a, b))
CALL(DESCRIPTOR, udev_monitor_enable_receiving, int, -EPERM, 0, (struct udev_monitor * a), (a))
CALL(DESCRIPTOR, udev_monitor_set_receive_buffer_size, int, -EPERM, 0,
     (struct udev_monitor * a, int b), (a, b))
CALL(DESCRIPTOR, udev_monitor_receive_device, struct udev_device *, NULL, ENOMEM,
     (struct udev_monitor * a), (a))

CALL(FILES, read, ssize_t, -1, EIO, (int a, void *b, size_t c), (a, b, c))
CALL(FILES, __read_chk, ssize_t, -1, EIO, (int a, void *b, size_t c, size_t d), (a, b, c, d))
CALL(FILES, pread, ssize_t, -1, EIO, (int a, void *b, size_t c, off_t d), (a, b, c, d))
CALL(FILES, write, ssize_t, -1, ENOSPC, (int a, const void *b, size_t c), (a, b, c))
CALL(FILES, pwrite, ssize_t, -1, ENOSPC, (int a, const void *b, size_t c, off_t d), (a, b, c, d))
CALL(FILES, fsync, int, -1, EIO, (int a), (a))
CALL(FILES, renameat, int, -1, ENOSPC, (int a, const char *b, int c, const char *d), (a, b, c, d))
CALL(FILES, unlinkat, int, -1, EIO, (int a, const char *b, int c), (a, b, c))
PATH_CALL(FILES, mkdir, int, -1, ENOSPC, (const char *a, mode_t b), (a, b))
CALL(FILES, fstat, int, -1, EIO, (int a, struct stat *b), (a, b))
PATH_CALL(FILES, stat, int, -1, EIO, (const char *a, struct stat *b), (a, b))
CALL(FILES, statx, int, -1, EINVAL, (int a, const char *b, int c, unsigned int d, struct statx *e),
     (a, b, c, d, e))
PATH_CALL(FILES, lstat, int, -1, EIO, (const char *a, struct stat *b), (a, b))
PATH_CALL(FILES, access, int, -1, EIO, (const char *a, int b), (a, b))
PATH_CALL(FILES, chmod, int, -1, EPERM, (const char *a, mode_t b), (a, b))
PATH_CALL(FILES, chown, int, -1, EPERM, (const char *a, uid_t b, gid_t c), (a, b, c))
PATH_CALL(FILES, unlink, int, -1, EIO, (const char *a), (a))
CALL(FILES, readdir, struct dirent *, NULL, EIO, (DIR * a), (a))
PATH_CALL(FILES, readlink, ssize_t, -1, EIO, (const char *a, char *b, size_t c), (a, b, c))
PATH_CALL(FILES, realpath, char *, NULL, ENOMEM, (const char *a, char *b), (a, b))
PATH_CALL(FILES, __realpath_chk, char *, NULL, ENOMEM, (const char *a, char *b, size_t c),
	  (a, b, c))
CALL(FILES, getrlimit, int, -1, EINVAL, (int a, struct rlimit *b), (a, b))
CALL(FILES, ioctl, int, -1, EIO, (int a, unsigned long b, void *c), (a, b, c))
CALL(FILES, bind, int, -1, EADDRINUSE, (int a, const struct sockaddr *b, socklen_t c), (a, b, c))
CALL(FILES, listen, int, -1, EADDRINUSE, (int a, int b), (a, b))
CALL(FILES, fcntl, int, -1, EINVAL, (int a, int b, long c), (a, b, c))
CALL(FILES, sd_journal_sendv, int, -ENOBUFS, 0, (const struct iovec *a, int b), (a, b))
CALL(FILES, connect, int, -1, ECONNREFUSED, (int a, const struct sockaddr *b, socklen_t c),
     (a, b, c))
CALL(FILES, send, ssize_t, -1, EPIPE, (int a, const void *b, size_t c, int d), (a, b, c, d))
CALL(FILES, setsockopt, int, -1, ENOMEM, (int a, int b, int c, const void *d, socklen_t e),
     (a, b, c, d, e))
CALL(FILES, getsockopt, int, -1, ENOMEM, (int a, int b, int c, void *d, socklen_t *e),
     (a, b, c, d, e))

CALL(THREADS, pthread_create, int, EAGAIN, 0,
     (pthread_t * a, const pthread_attr_t *b, void *(*c)(void *), void *d), (a, b, c, d))
CALL(THREADS, ev_loop_new, struct ev_loop *, NULL, 0, (unsigned int a), (a))
CALL(THREADS, ev_default_loop, struct ev_loop *, NULL, 0, (unsigned int a), (a))
CALL(THREADS, pthread_setaffinity_np, int, EINVAL, 0, (pthread_t a, size_t b, const cpu_set_t *c),
     (a, b, c))
CALL(THREADS, prctl, int, -1, EINVAL,
     (int a, unsigned long b, unsigned long c, unsigned long d, unsigned long e), (a, b, c, d, e))
CALL(THREADS, setpriority, int, -1, EACCES, (int a, id_t b, int c), (a, b, c))

CALL(URING, io_uring_queue_init, int, -ENOMEM, 0,
     (unsigned int a, struct io_uring *b, unsigned int c), (a, b, c))
CALL(URING, io_uring_register_files_sparse, int, -ENOMEM, 0, (struct io_uring * a, unsigned int b),
     (a, b))
CALL(URING, io_uring_register_files_update, int, -ENOMEM, 0,
     (struct io_uring * a, unsigned int b, const int *c, unsigned int d), (a, b, c, d))
CALL(URING, io_uring_submit, int, -EAGAIN, 0, (struct io_uring * a), (a))
CALL(URING, io_uring_submit_and_get_events, int, -EAGAIN, 0, (struct io_uring * a), (a))
CALL(URING, io_uring_register_ring_fd, int, -ENOMEM, 0, (struct io_uring * a), (a))
CALL(URING, io_uring_submit_and_wait, int, -EAGAIN, 0, (struct io_uring * a, unsigned int b),
     (a, b))
CALL(URING, io_uring_submit_and_wait_timeout, int, -EAGAIN, 0,
     (struct io_uring * a, struct io_uring_cqe **b, unsigned int c, struct __kernel_timespec *d,
      sigset_t *e),
     (a, b, c, d, e))

CALL(VERBS, ibv_reg_mr, struct ibv_mr *, NULL, ENOMEM,
     (struct ibv_pd * a, void *b, size_t c, int d), (a, b, c, d))
CALL(VERBS, ibv_create_comp_channel, struct ibv_comp_channel *, NULL, ENOMEM,
     (struct ibv_context * a), (a))
CALL(VERBS, ibv_create_cq, struct ibv_cq *, NULL, ENOMEM,
     (struct ibv_context * a, int b, void *c, struct ibv_comp_channel *d, int e), (a, b, c, d, e))
CALL(VERBS, ibv_create_srq, struct ibv_srq *, NULL, ENOMEM,
     (struct ibv_pd * a, struct ibv_srq_init_attr *b), (a, b))
CALL(VERBS, ibv_create_qp, struct ibv_qp *, NULL, ENOMEM,
     (struct ibv_pd * a, struct ibv_qp_init_attr *b), (a, b))
CALL(VERBS, ibv_modify_qp, int, ENOMEM, 0, (struct ibv_qp * a, struct ibv_qp_attr *b, int c),
     (a, b, c))
CALL(VERBS, ibv_query_qp, int, ENOMEM, 0,
     (struct ibv_qp * a, struct ibv_qp_attr *b, int c, struct ibv_qp_init_attr *d), (a, b, c, d))
CALL(VERBS, ibv_query_device, int, ENOMEM, 0, (struct ibv_context * a, struct ibv_device_attr *b),
     (a, b))
CALL(VERBS, rdma_create_event_channel, struct rdma_event_channel *, NULL, ENOMEM, (void), ())
CALL(VERBS, rdma_create_id, int, -1, ENOMEM,
     (struct rdma_event_channel * a, struct rdma_cm_id **b, void *c, enum rdma_port_space d),
     (a, b, c, d))
CALL(VERBS, rdma_bind_addr, int, -1, ENOMEM, (struct rdma_cm_id * a, struct sockaddr *b), (a, b))
CALL(VERBS, rdma_listen, int, -1, ENOMEM, (struct rdma_cm_id * a, int b), (a, b))
CALL(VERBS, rdma_create_qp, int, -1, ENOMEM,
     (struct rdma_cm_id * a, struct ibv_pd *b, struct ibv_qp_init_attr *c), (a, b, c))
CALL(VERBS, rdma_accept, int, -1, ENOMEM, (struct rdma_cm_id * a, struct rdma_conn_param *b),
     (a, b))
CALL(VERBS, rdma_disconnect, int, -1, ENOMEM, (struct rdma_cm_id * a), (a))
CALL(VERBS, rdma_set_option, int, -1, ENOMEM,
     (struct rdma_cm_id * a, int b, int c, void *d, size_t e), (a, b, c, d, e))
CALL(VERBS, rdma_reject, int, -1, ENOMEM, (struct rdma_cm_id * a, const void *b, uint8_t c),
     (a, b, c))
CALL(VERBS, rdma_notify, int, -1, ENOMEM, (struct rdma_cm_id * a, enum ibv_event_type b), (a, b))
CALL(VERBS, rdma_get_cm_event, int, -1, ENOMEM,
     (struct rdma_event_channel * a, struct rdma_cm_event **b), (a, b))
CALL(VERBS, ibv_get_cq_event, int, -1, ENOMEM,
     (struct ibv_comp_channel * a, struct ibv_cq **b, void **c), (a, b, c))
CALL(VERBS, ibv_get_async_event, int, -1, ENOMEM,
     (struct ibv_context * a, struct ibv_async_event *b), (a, b))
CALL(VERBS, _ibv_query_gid_table, ssize_t, -ENOMEM, 0,
     (struct ibv_context * a, struct ibv_gid_entry *b, size_t c, uint32_t d, size_t e),
     (a, b, c, d, e))

CALL(CRYPTO, RAND_bytes, int, 0, 0, (unsigned char *a, int b), (a, b))
CALL(CRYPTO, EVP_Q_digest, int, 0, 0,
     (OSSL_LIB_CTX * a, const char *b, const char *c, const void *d, size_t e, unsigned char *f,
      size_t *g),
     (a, b, c, d, e, f, g))
CALL(CRYPTO, EVP_Q_mac, unsigned char *, NULL, 0,
     (OSSL_LIB_CTX * a, const char *b, const char *c, const char *d, const OSSL_PARAM *e,
      const void *f, size_t g, const unsigned char *h, size_t i, unsigned char *j, size_t k,
      size_t *l),
     (a, b, c, d, e, f, g, h, i, j, k, l))
CALL(CRYPTO, EVP_PKEY_CTX_new_from_name, EVP_PKEY_CTX *, NULL, 0,
     (OSSL_LIB_CTX * a, const char *b, const char *c), (a, b, c))
CALL(CRYPTO, EVP_PKEY_CTX_new_from_pkey, EVP_PKEY_CTX *, NULL, 0,
     (OSSL_LIB_CTX * a, EVP_PKEY *b, const char *c), (a, b, c))
CALL(CRYPTO, EVP_PKEY_new, EVP_PKEY *, NULL, 0, (void), ())
CALL(CRYPTO, EVP_PKEY_generate, int, 0, 0, (EVP_PKEY_CTX * a, EVP_PKEY **b), (a, b))
CALL(CRYPTO, EVP_PKEY_derive, int, 0, 0, (EVP_PKEY_CTX * a, unsigned char *b, size_t *c), (a, b, c))
CALL(CRYPTO, EVP_PKEY_copy_parameters, int, 0, 0, (EVP_PKEY * a, const EVP_PKEY *b), (a, b))
CALL(CRYPTO, EVP_PKEY_keygen_init, int, 0, 0, (EVP_PKEY_CTX * a), (a))
CALL(CRYPTO, EVP_PKEY_derive_init, int, 0, 0, (EVP_PKEY_CTX * a), (a))
CALL(CRYPTO, EVP_PKEY_derive_set_peer_ex, int, 0, 0, (EVP_PKEY_CTX * a, EVP_PKEY *b, int c),
     (a, b, c))
CALL(CRYPTO, EVP_PKEY_CTX_set_group_name, int, 0, 0, (EVP_PKEY_CTX * a, const char *b), (a, b))
CALL(CRYPTO, EVP_PKEY_CTX_set_dh_pad, int, 0, 0, (EVP_PKEY_CTX * a, int b), (a, b))
CALL(CRYPTO, EVP_PKEY_get_bn_param, int, 0, 0, (const EVP_PKEY *a, const char *b, BIGNUM **c),
     (a, b, c))
CALL(CRYPTO, EVP_PKEY_set1_encoded_public_key, int, 0, 0,
     (EVP_PKEY * a, const unsigned char *b, size_t c), (a, b, c))
CALL(CRYPTO, BN_bn2binpad, int, -1, 0, (const BIGNUM *a, unsigned char *b, int c), (a, b, c))
CALL(CRYPTO, BN_sub_word, int, 0, 0, (BIGNUM * a, BN_ULONG b), (a, b))
CALL(CRYPTO, BN_bin2bn, BIGNUM *, NULL, 0, (const unsigned char *a, int b, BIGNUM *c), (a, b, c))

CALL(JSON, json_object_new_object, struct json_object *, NULL, ENOMEM, (void), ())
CALL(JSON, json_object_new_array, struct json_object *, NULL, ENOMEM, (void), ())
CALL(JSON, json_object_new_string, struct json_object *, NULL, ENOMEM, (const char *a), (a))
CALL(JSON, json_object_new_int, struct json_object *, NULL, ENOMEM, (int32_t a), (a))
CALL(JSON, json_object_new_int64, struct json_object *, NULL, ENOMEM, (int64_t a), (a))
CALL(JSON, json_object_new_uint64, struct json_object *, NULL, ENOMEM, (uint64_t a), (a))
CALL(JSON, json_object_new_boolean, struct json_object *, NULL, ENOMEM, (int a), (a))
CALL(JSON, json_tokener_new_ex, struct json_tokener *, NULL, ENOMEM, (int a), (a))
CALL(JSON, json_object_array_add, int, -1, ENOMEM, (struct json_object * a, struct json_object *b),
     (a, b))
CALL(JSON, json_object_object_add, int, -1, ENOMEM,
     (struct json_object * a, const char *b, struct json_object *c), (a, b, c))
CALL(JSON, json_object_to_json_string_ext, const char *, NULL, ENOMEM,
     (struct json_object * a, int b), (a, b))
CALL(JSON, json_object_to_json_string, const char *, NULL, ENOMEM, (struct json_object * a), (a))
CALL(JSON, json_object_to_json_string_length, const char *, NULL, ENOMEM,
     (struct json_object * a, int b, size_t *c), (a, b, c))

CALL(HTTP, MHD_create_response_from_buffer, struct MHD_Response *, NULL, ENOMEM,
     (size_t a, void *b, enum MHD_ResponseMemoryMode c), (a, b, c))
CALL(HTTP, MHD_add_response_header, enum MHD_Result, MHD_NO, ENOMEM,
     (struct MHD_Response * a, const char *b, const char *c), (a, b, c))
CALL(HTTP, MHD_queue_response, enum MHD_Result, MHD_NO, ENOMEM,
     (struct MHD_Connection * a, unsigned int b, struct MHD_Response *c), (a, b, c))

CALL(NVME, nvme_identify, int, -1, EIO, (struct nvme_identify_args * a), (a))
CALL(NVME, nvme_get_log_page, int, -1, EIO, (int a, uint32_t b, struct nvme_get_log_args *c),
     (a, b, c))
CALL(NVME, nvme_get_nsid, int, -1, EIO, (int a, uint32_t *b), (a, b))
CALL(NVME, nvme_submit_admin_passthru, int, -1, EIO,
     (int a, struct nvme_passthru_cmd *b, uint32_t *c), (a, b, c))
#endif
