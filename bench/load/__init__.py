"""The load generator: prebuilt buffers, one loop of epoll in each of several processes."""
