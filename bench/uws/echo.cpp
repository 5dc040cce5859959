// An echo server of uWebSockets for go run ./compare. Its only argument is the
// port of 127.0.0.1 where it listens.
//
//   dir=$(mktemp -d)
//   git clone --recursive --branch v20.79.0 https://github.com/uNetworking/uWebSockets $dir
//   make -C $dir/uSockets
//   g++ -O3 -flto -std=c++20 -DUWS_NO_ZLIB -I $dir/src -I $dir/uSockets/src \
//       uws/echo.cpp $dir/uSockets/*.o -o $dir/echo
//   WEBSOCKET_BENCH_UWS=$dir/echo go run ./compare

#include "App.h"
#include <cstdlib>

struct Nothing {};

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    uWS::App().ws<Nothing>("/*", {
        .compression = uWS::DISABLED,
        .maxPayloadLength = 64 << 20,
        .idleTimeout = 0,
        .maxBackpressure = 64 << 20,
        .sendPingsAutomatically = false,
        .message = [](auto *ws, std::string_view message, uWS::OpCode opcode) { ws->send(message, opcode); },
    }).listen("127.0.0.1", std::atoi(argv[1]), [](auto *socket) { if (!socket) std::exit(1); }).run();
}
