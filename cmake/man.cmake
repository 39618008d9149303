# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT/man1/opsm.1 and so on: every page that PROGRAM (a command: behind an emulator where
# there is one) lists. OUTPUT/made says that all are there.
file(REMOVE_RECURSE ${OUTPUT})
execute_process(COMMAND ${PROGRAM} help --man OUTPUT_VARIABLE pages COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[^\n]+" pages "${pages}")
foreach(page ${pages})
  string(REGEX REPLACE "^opsm-?(.*)\\.([0-9])$" "\\1;\\2" parts ${page})
  list(GET parts 0 name)
  list(GET parts 1 section)
  if(NOT name)
    set(name opsm)
  endif()
  file(MAKE_DIRECTORY ${OUTPUT}/man${section})
  execute_process(COMMAND ${PROGRAM} help --man ${name} OUTPUT_FILE ${OUTPUT}/man${section}/${page}
                  COMMAND_ERROR_IS_FATAL ANY)
endforeach()
file(TOUCH ${OUTPUT}/made)
