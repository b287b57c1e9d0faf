# Completion of ctbox, and of links to it, for fish 3.4 or later: goes into share/fish/vendor_completions.d or ~/.config/fish/completions.

# __ctbox_at: succeeds if the cursor is where the name of an applet may stand.
# __ctbox_at options APPLET: where the options of APPLET may stand; without APPLET, those of ctbox itself.
# __ctbox_at N[+] APPLET: where its Nth operand does, or a later one.
function __ctbox_at -a place applet
    set -l words (commandline -opc)
    set -e words[1]
    if test -z "$place"
        test (count $words) -eq 0
        return
    else if test -n "$applet"
        test "$words[1]" = "$applet"; or return
        set -e words[1]
    else if set -q words[1]
        not contains -- $words[1] $__ctbox_applets; or return
    else if test "$place" != options
        return 1 # an applet's name
    end

    set -l valued (__ctbox_valued $applet)
    set -l operand 1
    set -l ended
    set -l want
    for word in $words
        if set -q want[1]
            set -e want[1]
        else if set -q ended[1]; or not string match -qr -- '^-.' $word
            set operand (math $operand + 1)
            contains -- "$applet" $__ctbox_runners; and set ended yes
        else if test "$word" = --
            set ended yes
        else if string match -qr -- '^--' $word
            contains -- $word $valued; and set want yes
        else
            set -l letters (string split '' -- $word)
            while set -q letters[2]
                set -e letters[1]
                if contains -- -$letters[1] $valued
                    set -q letters[2]; or set want yes
                    break
                end
            end
        end
    end
    switch $place
        case options
            not set -q ended[1]
        case '*+'
            not set -q want[1]; and test $operand -ge (string trim -c + -- $place)
        case '*'
            not set -q want[1]; and test $operand -eq $place
    end
end

# The part of the word at the cursor that is a value.
function __ctbox_value
    commandline -ct | string replace -r -- '^--[^=]*=' ''
end

function __ctbox_files
    complete -C "__ctbox_no_such_command $(__ctbox_value)"
end

function __ctbox_directories
    __ctbox_files | string match -r '.*/$'
end

function __ctbox_programs
    set -l value (__ctbox_value)
    if string match -q -- '*/*' "$value"
        __ctbox_files
    else if string match -qr -- '^[\w.+@%-]*$' "$value" # fish runs (what) stands where a command does, to complete that
        for line in (complete -C "$value")
            set -l name (string split -f 1 -- \t $line)
            command -q -- $name; and echo $name
        end
    end
end

# What the applets are is written by UPDATE=1 go test ./applets.
# generated
function __ctbox_valued -a applet
	switch $applet
		case dockjson
			printf '%s\n' -t --template -o --output
		case fileids
			printf '%s\n' -C --directory -T --tar -F --fakeroot --owner --cache -j --jobs -o --output --progress
		case flatten
			printf '%s\n' -o --output -z --compress --mtime --progress
		case gz
			printf '%s\n' -l --level -o --output --progress
		case libs
			printf '%s\n' --root
		case listdiff
			printf '%s\n' -o --output
		case listmerge
			printf '%s\n' -o --output
		case memcalc
			printf '%s\n' --kernel --rootfstype
		case mkdisk
			printf '%s\n' -C --directory -T --tar -o --output -t --type --size --free --label --mtime --trust-cache --progress
		case mkimage
			printf '%s\n' -t --template --rootfs -o --output -z --compress --reuse --tag --format --media --cmd --entrypoint -e --env --label --annotation --workdir --user --expose --volume --platform --created --author --digest-file --progress
		case mkinitrd
			printf '%s\n' -C --directory -T --tar -o --output -z --compress --mtime --rdinit --trust-cache --progress
		case mklayer
			printf '%s\n' -C --directory -T --tar -o --output -z --compress --mtime --trust-cache --progress
		case rundocker
			printf '%s\n' --engine -e --env --network --timeout
		case runkvm
			printf '%s\n' --accel --append --channel -e --env --kernel -m --memory --smp --timeout --vmm --workdir
		case runlocal
			printf '%s\n' --bind --changes -e --env --hostname --layer --limit --net --timeout --tmpfs --user --workdir
		case sha256
			printf '%s\n' -o --output --progress
	end
end

set -g __ctbox_applets dockjson fileids flatten gz libs listdiff listmerge memcalc mkdisk mkimage mkinitrd mklayer need rundocker runkvm runlocal sha256 try-fakeroot
set -g __ctbox_runners rundocker runkvm runlocal try-fakeroot

complete -c ctbox -f

complete -c ctbox -n '__ctbox_at options' -l list -d 'Print the names of the applets'
complete -c ctbox -n '__ctbox_at options' -l install -d 'Make a link in DIR for every applet'
complete -c ctbox -n '__ctbox_at options' -s s -l symlink -d 'Make symbolic links; they always are'
complete -c ctbox -n '__ctbox_at options' -s f -l force -d 'With --install, replace what is in the way'
complete -c ctbox -n '__ctbox_at options' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1' -f -a '(__ctbox_directories)'

complete -c ctbox -n '__ctbox_at' -a dockjson -d 'describe a layer for Docker\'s first image format'
complete -c ctbox -n '__ctbox_at options dockjson' -s t -l template -r -F -d 'JSON object with the fields that all layers share'
complete -c ctbox -n '__ctbox_at options dockjson' -s o -l output -r -F -d 'Write FILE, whole or not at all'
complete -c ctbox -n '__ctbox_at options dockjson' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options dockjson' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 dockjson' -F
complete -c ctbox -n '__ctbox_at 2 dockjson' -F

complete -c ctbox -n '__ctbox_at' -a fileids -d 'make a list from a tree'
complete -c ctbox -n '__ctbox_at options fileids' -s 0 -l null -d 'Names and records end in NUL, not newline'
complete -c ctbox -n '__ctbox_at options fileids' -s C -l directory -r -f -a '(__ctbox_directories)' -d 'Names on standard input are relative to DIR'
complete -c ctbox -n '__ctbox_at options fileids' -s T -l tar -r -f -d 'List what is in TAR, a root file system, as it would be unpacked by root'
complete -c ctbox -n '__ctbox_at options fileids' -s F -l fakeroot -r -F -d 'Owners, modes and devices are those in FILE, which fakeroot saved'
complete -c ctbox -n '__ctbox_at options fileids' -l owner -r -f -d 'Owner of everything, instead of the owners on disk'
complete -c ctbox -n '__ctbox_at options fileids' -l cache -r -F -d 'Do not read files that are as FILE remembers them, and keep FILE up to date'
complete -c ctbox -n '__ctbox_at options fileids' -s j -l jobs -r -f -d 'Read N files at once; one for each processor if not given'
complete -c ctbox -n '__ctbox_at options fileids' -s x -l one-file-system -d 'With DIR, do not go into other file systems'
complete -c ctbox -n '__ctbox_at options fileids' -s o -l output -r -F -d 'Write FILE, whole or not at all'
complete -c ctbox -n '__ctbox_at options fileids' -l progress -r -f -a 'auto always never' -d 'Show on standard error how far the work is: on a terminal, after a second'
complete -c ctbox -n '__ctbox_at options fileids' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options fileids' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 fileids' -f -a '(__ctbox_directories)'

complete -c ctbox -n '__ctbox_at' -a flatten -d 'make one tar, or a list, of an image\'s layers'
complete -c ctbox -n '__ctbox_at options flatten' -s 0 -l null -d 'With --list, records end in NUL, not newline'
complete -c ctbox -n '__ctbox_at options flatten' -l list -d 'Write only the list'
complete -c ctbox -n '__ctbox_at options flatten' -s o -l output -r -F -d 'Write FILE, whole or not at all'
complete -c ctbox -n '__ctbox_at options flatten' -s z -l compress -r -f -a 'none gzip zstd' -d 'Compress the tar'
complete -c ctbox -n '__ctbox_at options flatten' -l mtime -r -f -a 'epoch clamp keep' -d 'Times of modification: SOURCE_DATE_EPOCH or 0'
complete -c ctbox -n '__ctbox_at options flatten' -l progress -r -f -a 'auto always never' -d 'Show on standard error how far the work is: on a terminal, after a second'
complete -c ctbox -n '__ctbox_at options flatten' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options flatten' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 flatten' -F

complete -c ctbox -n '__ctbox_at' -a gz -d 'compress so that a small change moves few bytes'
complete -c ctbox -n '__ctbox_at options gz' -s l -l level -r -f -d '1 is the fastest, 9 gives the fewest bytes; 6 if not given'
complete -c ctbox -n '__ctbox_at options gz' -s o -l output -r -F -d 'Write FILE, whole or not at all'
complete -c ctbox -n '__ctbox_at options gz' -l progress -r -f -a 'auto always never' -d 'Show on standard error how far the work is: on a terminal, after a second'
complete -c ctbox -n '__ctbox_at options gz' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options gz' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 gz' -F

complete -c ctbox -n '__ctbox_at' -a libs -d 'list the shared libraries that programs need'
complete -c ctbox -n '__ctbox_at options libs' -s 0 -l null -d 'Names end in NUL, not newline, on standard input and in the output'
complete -c ctbox -n '__ctbox_at options libs' -s a -l all -d 'Write names for a list, and those of directories and links on the way'
complete -c ctbox -n '__ctbox_at options libs' -l root -r -f -a '(__ctbox_directories)' -d 'Look for everything in DIR as if it were the root'
complete -c ctbox -n '__ctbox_at options libs' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options libs' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1+ libs' -F

complete -c ctbox -n '__ctbox_at' -a listdiff -d 'list what a layer adds, changes and deletes'
complete -c ctbox -n '__ctbox_at options listdiff' -s 0 -l null -d 'Records end in NUL, not newline, in both lists and in the output'
complete -c ctbox -n '__ctbox_at options listdiff' -l added-only -d 'Only records of NEW that are not in BASE, as comm -1 -3 does: no deletions, no directories for their sake'
complete -c ctbox -n '__ctbox_at options listdiff' -l exit-code -d 'Exit with status 1 if there is any difference'
complete -c ctbox -n '__ctbox_at options listdiff' -s o -l output -r -F -d 'Write FILE, whole or not at all'
complete -c ctbox -n '__ctbox_at options listdiff' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options listdiff' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 listdiff' -F
complete -c ctbox -n '__ctbox_at 2 listdiff' -F

complete -c ctbox -n '__ctbox_at' -a listmerge -d 'lay lists one over another'
complete -c ctbox -n '__ctbox_at options listmerge' -s 0 -l null -d 'Records end in NUL, not newline, in all lists and in the output'
complete -c ctbox -n '__ctbox_at options listmerge' -s o -l output -r -F -d 'Write FILE, whole or not at all'
complete -c ctbox -n '__ctbox_at options listmerge' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options listmerge' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1+ listmerge' -F

complete -c ctbox -n '__ctbox_at' -a memcalc -d 'say how much memory a machine needs for an initrd'
complete -c ctbox -n '__ctbox_at options memcalc' -l kernel -r -F -d 'Kernel that will unpack it; by default one that takes 64M'
complete -c ctbox -n '__ctbox_at options memcalc' -l rootfstype -r -f -a 'tmpfs ramfs' -d 'What the kernel is told to unpack to'
complete -c ctbox -n '__ctbox_at options memcalc' -s v -l verbose -d 'Print the sizes that count on standard error'
complete -c ctbox -n '__ctbox_at options memcalc' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options memcalc' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1+ memcalc' -F

complete -c ctbox -n '__ctbox_at' -a mkdisk -d 'pack a list as a disk image'
complete -c ctbox -n '__ctbox_at options mkdisk' -s 0 -l null -d 'Records end in NUL, not newline'
complete -c ctbox -n '__ctbox_at options mkdisk' -s C -l directory -r -f -a '(__ctbox_directories)' -d 'Names are relative to DIR'
complete -c ctbox -n '__ctbox_at options mkdisk' -s T -l tar -r -f -d 'Names are those in TAR, a root file system'
complete -c ctbox -n '__ctbox_at options mkdisk' -s o -l output -r -F -d 'Write FILE, whole or not at all'
complete -c ctbox -n '__ctbox_at options mkdisk' -s t -l type -r -f -a 'ext4 erofs squashfs' -d 'Make a file system of this type'
complete -c ctbox -n '__ctbox_at options mkdisk' -l size -r -f -d 'Make the image so large, such as 512M or 2G, instead of as large as needed'
complete -c ctbox -n '__ctbox_at options mkdisk' -l free -r -f -d 'Leave at least so much space free; 32M by default'
complete -c ctbox -n '__ctbox_at options mkdisk' -l label -r -f -d 'Name the file system, with at most 16 bytes'
complete -c ctbox -n '__ctbox_at options mkdisk' -l journal -d 'Give the file system a journal'
complete -c ctbox -n '__ctbox_at options mkdisk' -l partition -d 'Put the file system into the one partition of a disk, with a GPT'
complete -c ctbox -n '__ctbox_at options mkdisk' -l mtime -r -f -a 'epoch clamp keep' -d 'Times of modification: SOURCE_DATE_EPOCH or 0'
complete -c ctbox -n '__ctbox_at options mkdisk' -l skip-sockets -d 'Leave sockets out: only ext4 can have them'
complete -c ctbox -n '__ctbox_at options mkdisk' -l trust-cache -r -F -d 'Do not prove files again that are as FILE remembers them, a cache of fileids'
complete -c ctbox -n '__ctbox_at options mkdisk' -l progress -r -f -a 'auto always never' -d 'Show on standard error how far the work is: on a terminal, after a second'
complete -c ctbox -n '__ctbox_at options mkdisk' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options mkdisk' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 mkdisk' -F

complete -c ctbox -n '__ctbox_at' -a mkimage -d 'join layers to an image that every engine loads'
complete -c ctbox -n '__ctbox_at options mkimage' -s t -l template -r -F -d 'Take the fields of the config from this JSON file'
complete -c ctbox -n '__ctbox_at options mkimage' -l rootfs -r -f -d 'Make the lowest layer of this root file system'
complete -c ctbox -n '__ctbox_at options mkimage' -s o -l output -r -F -d 'Write FILE, whole or not at all'
complete -c ctbox -n '__ctbox_at options mkimage' -s z -l compress -r -f -a 'none gzip zstd' -d 'How all layers are compressed in the image'
complete -c ctbox -n '__ctbox_at options mkimage' -l reuse -r -f -d 'With -z gzip, copy what has not changed since this image instead of compressing it again'
complete -c ctbox -n '__ctbox_at options mkimage' -l tag -r -f -d 'Name the image NAME[:TAG]'
complete -c ctbox -n '__ctbox_at options mkimage' -l format -r -f -a 'hybrid oci-dir v1 aci' -d 'Write an archive for all engines, an OCI layout directory, Docker\'s first format, or an App Container Image'
complete -c ctbox -n '__ctbox_at options mkimage' -l media -r -f -a 'oci docker' -d 'Write the media types of OCI or of Docker'
complete -c ctbox -n '__ctbox_at options mkimage' -l cmd -r -f -d 'Set the command, one argument at a time'
complete -c ctbox -n '__ctbox_at options mkimage' -l entrypoint -r -f -d 'Set the entry point, likewise'
complete -c ctbox -n '__ctbox_at options mkimage' -s e -l env -r -f -d 'Set an environment variable'
complete -c ctbox -n '__ctbox_at options mkimage' -l label -r -f -d 'Set a label'
complete -c ctbox -n '__ctbox_at options mkimage' -l annotation -r -f -d 'Set an annotation of the manifest'
complete -c ctbox -n '__ctbox_at options mkimage' -l workdir -r -f -d 'Set the working directory'
complete -c ctbox -n '__ctbox_at options mkimage' -l user -r -f -d 'Set the user'
complete -c ctbox -n '__ctbox_at options mkimage' -l expose -r -f -d 'Declare a port'
complete -c ctbox -n '__ctbox_at options mkimage' -l volume -r -f -d 'Declare a volume'
complete -c ctbox -n '__ctbox_at options mkimage' -l platform -r -f -d 'Set the platform'
complete -c ctbox -n '__ctbox_at options mkimage' -l created -r -f -d 'Set the time of creation, as 2026-01-31T12:00:00Z'
complete -c ctbox -n '__ctbox_at options mkimage' -l author -r -f -d 'Set the author'
complete -c ctbox -n '__ctbox_at options mkimage' -l digest-file -r -F -d 'Write the digests of config and manifest to FILE'
complete -c ctbox -n '__ctbox_at options mkimage' -l no-verify-layers -d 'Do not look for what is wrong in the layers'
complete -c ctbox -n '__ctbox_at options mkimage' -s v -l verbose -d 'Print the digests on standard error'
complete -c ctbox -n '__ctbox_at options mkimage' -s q -l quiet -d 'Print no warnings'
complete -c ctbox -n '__ctbox_at options mkimage' -l progress -r -f -a 'auto always never' -d 'Show on standard error how far the work is: on a terminal, after a second'
complete -c ctbox -n '__ctbox_at options mkimage' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options mkimage' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 mkimage' -F

complete -c ctbox -n '__ctbox_at' -a mkinitrd -d 'pack a list as an initrd for a Linux kernel'
complete -c ctbox -n '__ctbox_at options mkinitrd' -s 0 -l null -d 'Records end in NUL, not newline'
complete -c ctbox -n '__ctbox_at options mkinitrd' -s C -l directory -r -f -a '(__ctbox_directories)' -d 'Names are relative to DIR'
complete -c ctbox -n '__ctbox_at options mkinitrd' -s T -l tar -r -f -d 'Names are those in TAR, a root file system'
complete -c ctbox -n '__ctbox_at options mkinitrd' -s o -l output -r -F -d 'Write FILE, whole or not at all'
complete -c ctbox -n '__ctbox_at options mkinitrd' -s z -l compress -r -f -a 'none gzip zstd' -d 'Compress the initrd'
complete -c ctbox -n '__ctbox_at options mkinitrd' -l mtime -r -f -a 'epoch clamp keep' -d 'Times of modification: SOURCE_DATE_EPOCH or 0'
complete -c ctbox -n '__ctbox_at options mkinitrd' -l rdinit -r -F -a 'self' -d 'Add this program, or FILE, as /rdinit, for the guest\'s kernel to start'
complete -c ctbox -n '__ctbox_at options mkinitrd' -l skip-sockets -d 'Leave sockets out instead of failing'
complete -c ctbox -n '__ctbox_at options mkinitrd' -l allow-empty -d 'Make an initrd of an empty list'
complete -c ctbox -n '__ctbox_at options mkinitrd' -l trust-cache -r -F -d 'Do not prove files again that are as FILE remembers them, a cache of fileids'
complete -c ctbox -n '__ctbox_at options mkinitrd' -l progress -r -f -a 'auto always never' -d 'Show on standard error how far the work is: on a terminal, after a second'
complete -c ctbox -n '__ctbox_at options mkinitrd' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options mkinitrd' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 mkinitrd' -F

complete -c ctbox -n '__ctbox_at' -a mklayer -d 'pack a list as a tar layer'
complete -c ctbox -n '__ctbox_at options mklayer' -s 0 -l null -d 'Records end in NUL, not newline'
complete -c ctbox -n '__ctbox_at options mklayer' -s C -l directory -r -f -a '(__ctbox_directories)' -d 'Names are relative to DIR'
complete -c ctbox -n '__ctbox_at options mklayer' -s T -l tar -r -f -d 'Names are those in TAR, a root file system'
complete -c ctbox -n '__ctbox_at options mklayer' -s o -l output -r -F -d 'Write FILE, whole or not at all'
complete -c ctbox -n '__ctbox_at options mklayer' -s z -l compress -r -f -a 'none gzip zstd' -d 'Compress the layer'
complete -c ctbox -n '__ctbox_at options mklayer' -l mtime -r -f -a 'epoch clamp keep' -d 'Times of modification: SOURCE_DATE_EPOCH or 0'
complete -c ctbox -n '__ctbox_at options mklayer' -l root-entry -d 'Write an entry for the root directory, too'
complete -c ctbox -n '__ctbox_at options mklayer' -l skip-sockets -d 'Leave sockets out instead of failing'
complete -c ctbox -n '__ctbox_at options mklayer' -l trust-cache -r -F -d 'Do not prove files again that are as FILE remembers them, a cache of fileids'
complete -c ctbox -n '__ctbox_at options mklayer' -s q -l quiet -d 'Do not warn of directories that the list lacks'
complete -c ctbox -n '__ctbox_at options mklayer' -l progress -r -f -a 'auto always never' -d 'Show on standard error how far the work is: on a terminal, after a second'
complete -c ctbox -n '__ctbox_at options mklayer' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options mklayer' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 mklayer' -F

complete -c ctbox -n '__ctbox_at' -a need -d 'check that programs are installed'
complete -c ctbox -n '__ctbox_at options need' -s c -l check -d 'Check also that the programs could start'
complete -c ctbox -n '__ctbox_at options need' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options need' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1+ need' -f -a '(__ctbox_programs)'

complete -c ctbox -n '__ctbox_at' -a rundocker -d 'load an image into docker, podman or nerdctl and run it'
complete -c ctbox -n '__ctbox_at options rundocker' -l engine -r -F -a 'docker podman nerdctl' -d 'Use docker, podman, nerdctl or the command at a path'
complete -c ctbox -n '__ctbox_at options rundocker' -s e -l env -r -f -a '(set -nx)' -d 'Set VAR in the container; without VALUE, to what it is here'
complete -c ctbox -n '__ctbox_at options rundocker' -s i -l interactive -d 'Pass standard input to the container'
complete -c ctbox -n '__ctbox_at options rundocker' -l keep -d 'Leave the stopped container, and say its name'
complete -c ctbox -n '__ctbox_at options rundocker' -l network -r -f -d 'Connect to a network of the engine'
complete -c ctbox -n '__ctbox_at options rundocker' -l rmi -d 'Remove the image afterwards, if it was not there before and no container uses it'
complete -c ctbox -n '__ctbox_at options rundocker' -l timeout -r -f -d 'Kill the container after TIME, in seconds or as 2m30s'
complete -c ctbox -n '__ctbox_at options rundocker' -s v -l verbose -d 'Say what was sent to the engine'
complete -c ctbox -n '__ctbox_at options rundocker' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options rundocker' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 rundocker' -F

complete -c ctbox -n '__ctbox_at' -a runkvm -d 'boot an initrd in a virtual machine and run its /init'
complete -c ctbox -n '__ctbox_at options runkvm' -l accel -r -f -a 'auto kvm tcg' -d 'Use KVM, or emulate (tcg)'
complete -c ctbox -n '__ctbox_at options runkvm' -l append -r -f -d 'Add to the kernel\'s command line'
complete -c ctbox -n '__ctbox_at options runkvm' -l channel -r -f -a 'auto memory serial' -d 'How output comes out: through memory that guest and host share, or a serial line, which is slow'
complete -c ctbox -n '__ctbox_at options runkvm' -l cold -d 'Boot'
complete -c ctbox -n '__ctbox_at options runkvm' -s n -l dry-run -d 'Print the command line of qemu instead of running it'
complete -c ctbox -n '__ctbox_at options runkvm' -s e -l env -r -f -a '(set -nx)' -d 'Set VAR in the guest; without VALUE, to what it is here'
complete -c ctbox -n '__ctbox_at options runkvm' -s i -l interactive -d 'Pass standard input to the guest'
complete -c ctbox -n '__ctbox_at options runkvm' -l kernel -r -F -d 'Kernel to boot'
complete -c ctbox -n '__ctbox_at options runkvm' -s m -l memory -r -f -d 'RAM of the guest, such as 512M'
complete -c ctbox -n '__ctbox_at options runkvm' -l read-only -d 'Mount the file system of a disk read-only'
complete -c ctbox -n '__ctbox_at options runkvm' -l smp -r -f -d 'Processors of the guest'
complete -c ctbox -n '__ctbox_at options runkvm' -l timeout -r -f -d 'End the guest after TIME, in seconds or as 2m30s'
complete -c ctbox -n '__ctbox_at options runkvm' -s v -l verbose -d 'Show the guest\'s console on standard error'
complete -c ctbox -n '__ctbox_at options runkvm' -l vmm -r -f -a 'qemu firecracker cloud-hypervisor' -d 'With -n, what to print: the command line of qemu or cloud-hypervisor, or firecracker\'s configuration'
complete -c ctbox -n '__ctbox_at options runkvm' -l workdir -r -f -d 'Working directory in the guest'
complete -c ctbox -n '__ctbox_at options runkvm' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options runkvm' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 runkvm' -F

complete -c ctbox -n '__ctbox_at' -a runlocal -d 'run a directory\'s /init in a sandbox, without root'
complete -c ctbox -n '__ctbox_at options runlocal' -l bind -r -F -d 'Show SRC of the host at DST in the sandbox, to read and write, or only to read'
complete -c ctbox -n '__ctbox_at options runlocal' -l changes -r -F -d 'When the command succeeds, write the list of what it changed'
complete -c ctbox -n '__ctbox_at options runlocal' -l chroot -d 'Only change the root directory, for root where no namespaces are allowed'
complete -c ctbox -n '__ctbox_at options runlocal' -s n -l dry-run -d 'Print the plan, a system call a line, instead of running it'
complete -c ctbox -n '__ctbox_at options runlocal' -s e -l env -r -f -a '(set -nx)' -d 'Set VAR in the sandbox; without VALUE, to what it is here'
complete -c ctbox -n '__ctbox_at options runlocal' -l fake-chown -d 'Let chown and its like succeed without effect, as package managers want it where there is one user'
complete -c ctbox -n '__ctbox_at options runlocal' -l hostname -r -f -d 'Name of the sandbox\'s host'
complete -c ctbox -n '__ctbox_at options runlocal' -l layer -r -F -d 'When the command succeeds, pack what it changed as a layer'
complete -c ctbox -n '__ctbox_at options runlocal' -l limit -r -f -d 'Hold the run to mem=SIZE, pids=N or cpu=N'
complete -c ctbox -n '__ctbox_at options runlocal' -l map-auto -d 'Have all users that /etc/subuid and /etc/subgid give you, through newuidmap and newgidmap'
complete -c ctbox -n '__ctbox_at options runlocal' -l net -r -f -a 'none host user' -d 'none: a loopback of its own'
complete -c ctbox -n '__ctbox_at options runlocal' -l rw -d 'Write into DIR itself'
complete -c ctbox -n '__ctbox_at options runlocal' -l timeout -r -f -d 'End the run after TIME, in seconds or as 2m30s'
complete -c ctbox -n '__ctbox_at options runlocal' -l tmpfs -r -f -d 'Mount an empty directory in memory at DST, for at most SIZE such as 64M'
complete -c ctbox -n '__ctbox_at options runlocal' -l user -r -f -d 'Be this user in the sandbox, and this group'
complete -c ctbox -n '__ctbox_at options runlocal' -s v -l verbose -d 'Say what holds the limits'
complete -c ctbox -n '__ctbox_at options runlocal' -l workdir -r -f -d 'Working directory in the sandbox'
complete -c ctbox -n '__ctbox_at options runlocal' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options runlocal' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 runlocal' -f -a '(__ctbox_directories)'

complete -c ctbox -n '__ctbox_at' -a sha256 -d 'print or check SHA-256 digests'
complete -c ctbox -n '__ctbox_at options sha256' -s c -l check -d 'Read digests from the FILEs and check them'
complete -c ctbox -n '__ctbox_at options sha256' -s o -l output -r -F -d 'Write FILE, whole or not at all'
complete -c ctbox -n '__ctbox_at options sha256' -l progress -r -f -a 'auto always never' -d 'Show on standard error how far the work is: on a terminal, after a second'
complete -c ctbox -n '__ctbox_at options sha256' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options sha256' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1+ sha256' -F

complete -c ctbox -n '__ctbox_at' -a try-fakeroot -d 'run a command under fakeroot, where that works'
complete -c ctbox -n '__ctbox_at options try-fakeroot' -s h -l help -d 'Print this help'
complete -c ctbox -n '__ctbox_at options try-fakeroot' -l version -d 'Print the version'
complete -c ctbox -n '__ctbox_at 1 try-fakeroot' -F
complete -c ctbox -n '__ctbox_at 2 try-fakeroot' -f -a '(__ctbox_programs)'
complete -c ctbox -n '__ctbox_at 3+ try-fakeroot' -F
# end of generated

# Others have an mkimage, too: a name is completed if it is a link to ctbox.
for applet in $__ctbox_applets
    if command -q $applet; and command -q ctbox; and test (realpath (command -s $applet)) = (realpath (command -s ctbox))
        complete -c $applet -w "ctbox $applet"
    end
end
